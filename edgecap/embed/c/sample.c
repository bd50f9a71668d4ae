/* sample.c: see sample.h. Numbers come from SplitMix64 (Steele, Lea, Flood 2014). */
#include "sample.h"

#include <math.h>

bool ec_log_sum(const float *logits, int32_t count, float *highest, float *log_sum)
{
    double sum = 0;
    int32_t i;
    *highest = logits[0];
    for (i = 0; i < count; i++) {
        if (!isfinite(logits[i])) {
            return false;
        }
        *highest = logits[i] > *highest ? logits[i] : *highest;
    }
    for (i = 0; i < count; i++) {
        sum += exp((double)(logits[i] - *highest));
    }
    *log_sum = (float)log(sum);
    return true;
}

int32_t ec_highest(const float *scores, int32_t count)
{
    int32_t best = 0, i;
    for (i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

static bool before(const double *scores, int32_t a, int32_t b)
{
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
}

static void sink(const double *scores, int32_t *order, int32_t place, int32_t count)
{
    int32_t item = order[place], child;
    while ((child = 2 * place + 1) < count) {
        if (child + 1 < count && before(scores, order[child], order[child + 1])) {
            child++;
        }
        if (!before(scores, item, order[child])) {
            break;
        }
        order[place] = order[child];
        place = child;
    }
    order[place] = item;
}

/* Highest score first, of equals the lower id: a heap sort, which takes no memory. */
static void sort(const double *scores, int32_t *order, int32_t count)
{
    int32_t i, last;
    for (i = count / 2; i-- > 0;) {
        sink(scores, order, i, count);
    }
    for (i = count; i-- > 1;) {
        last = order[i];
        order[i] = order[0];
        order[0] = last;
        sink(scores, order, 0, i);
    }
}

bool ec_probabilities(const float *scores, int32_t count, const ec_sampling *how,
                      ec_chances *chances)
{
    double *values = chances->values, *scaled = chances->scaled;
    int32_t *order = chances->order;
    int32_t most, kept = 0, i;
    double total = 0, sum = 0;
    for (i = 0; i < count; i++) {
        values[i] = 0;
        scaled[i] = (double)scores[i] / how->temperature;
        if (scores[i] > -INFINITY) {
            order[kept++] = i;
        }
    }
    if (kept == 0) {
        return false;
    }
    sort(scaled, order, kept);
    most = how->top_k > 0 && how->top_k < kept ? how->top_k : kept;
    for (i = 0; i < most; i++) {
        total += exp(scaled[order[i]] - scaled[order[0]]);
    }
    for (kept = 0; kept < most && !(how->top_p > 0 && sum / total >= how->top_p); kept++) {
        values[order[kept]] = exp(scaled[order[kept]] - scaled[order[0]]);
        sum += values[order[kept]];
    }
    for (i = 0; i < count; i++) {
        values[i] /= sum;
    }
    return true;
}

int32_t ec_draw(const double *chances, int32_t count, double u)
{
    double sum = 0;
    int32_t last = -1, i;
    for (i = 0; i < count; i++) {
        if (chances[i] > 0) {
            sum += chances[i];
            last = i;
            if (sum > u) {
                return i;
            }
        }
    }
    return last; /* the sum may end a rounding below 1 */
}

double ec_uniform(uint32_t seed, uint32_t index, uint64_t count)
{
    uint64_t z = ((uint64_t)seed << 32) + index + (count + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}
