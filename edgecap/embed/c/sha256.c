/* sha256.c: SHA-256 (FIPS 180-4), by the processor's own instructions where x86 has them. */
#include <string.h>

#include "bundle.h"

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define HAS_NATIVE 1
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static void mix(uint32_t *state, const uint8_t *p)
{
    uint32_t w[64], s[8];
    int i;
    for (i = 0; i < 16; i++, p += 4) {
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (; i < 64; i++) {
        uint32_t a = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(s, state, sizeof s);
    for (i = 0; i < 64; i++) {
        uint32_t one = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
        uint32_t two = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + one;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = one + two;
    }
    for (i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

void ec_sha256_mix(uint32_t *state, const uint8_t *data, size_t blocks)
{
    for (; blocks > 0; blocks--, data += 64) {
        mix(state, data);
    }
}

#if defined(HAS_NATIVE)
static bool has_native(void)
{
    enum { SSSE3 = 1 << 9, SSE41 = 1 << 19, SHA = 1 << 29 };
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & SSSE3) && (c & SSE41) &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & SHA);
}

/* The instructions take the state as words A B E F and C D G H, and four rounds a call of two. */
__attribute__((target("sha,ssse3,sse4.1"))) static void
mix_native(uint32_t *state, const uint8_t *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const void *)state), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const void *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xF0);
    for (; blocks > 0; blocks--, data += 64) {
        __m128i w[4], first = abef, second = cdgh, words, sum;
        int i;
        for (i = 0; i < 16; i++) {
            if (i < 4) {
                words = _mm_loadu_si128((const void *)(data + 16 * i));
                w[i] = _mm_shuffle_epi8(words, swap);
            } else {
                sum = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
                sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(sum, w[(i + 3) & 3]);
            }
            words = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const void *)(K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0E));
        }
        abef = _mm_add_epi32(abef, first);
        cdgh = _mm_add_epi32(cdgh, second);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((void *)state, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}
#endif

void ec_sha256_begin(ec_sha256 *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->length = 0;
    hash->mix = ec_sha256_mix;
#if defined(HAS_NATIVE)
    hash->mix = has_native() ? mix_native : ec_sha256_mix;
#endif
}

void ec_sha256_add(ec_sha256 *hash, const uint8_t *data, size_t length)
{
    size_t held = (size_t)(hash->length % 64);
    hash->length += length;
    if (held + length >= 64 && held > 0) {
        size_t part = 64 - held;
        memcpy(hash->block + held, data, part);
        hash->mix(hash->state, hash->block, 1);
        data += part;
        length -= part;
        held = 0;
    }
    if (held == 0) {
        hash->mix(hash->state, data, length / 64);
        data += length - length % 64;
        length %= 64;
    }
    memcpy(hash->block + held, data, length);
}

void ec_sha256_end(ec_sha256 *hash, char hex[65])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t bits = hash->length * 8;
    uint8_t tail[72] = {0x80};
    size_t held = (size_t)(hash->length % 64), padding = (held < 56 ? 56 : 120) - held;
    int i;
    for (i = 0; i < 8; i++) {
        tail[padding + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    ec_sha256_add(hash, tail, padding + 8);
    for (i = 0; i < 64; i++) {
        hex[i] = digits[hash->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    }
    hex[64] = '\0';
}
