/* grammar.c: see grammar.h. */
#include "grammar.h"

#include <string.h>

enum { MOST_STATES = 64, MOST_ROOM = 64 };

static edgecap_status bad(ec_fields *f, const char *what, const char *name)
{
    return ec_refuse(f, "bundle.grammar", "grammar: %s ('%.40s')", what, name);
}

static void read_class(ec_fields *f, const ec_json *list, int64_t vocabulary, ec_class *out)
{
    const ec_json *pair, *edge;
    bool wrong = false;
    out->name = ec_arena_text(f->arena, list->key.data, list->key.length);
    if (out->name == NULL) {
        f->status = ec_no_memory(f->error);
        return;
    }
    if (!ec_is_kind(f, list, EC_JSON_LIST, "a class of the grammar")) {
        return;
    }
    out->edges = ec_field_array(f, list->count, 2 * sizeof *out->edges);
    for (pair = list->first; pair != NULL && f->status == EDGECAP_OK; pair = pair->next) {
        if (!ec_is_kind(f, pair, EC_JSON_LIST, "a range of the grammar")) {
            return;
        }
        for (edge = pair->first; edge != NULL; edge = edge->next) {
            if (!ec_is_kind(f, edge, EC_JSON_WHOLE, "an id of the grammar")) {
                return;
            }
        }
        wrong = wrong || pair->count != 2;
        for (edge = pair->first; edge != NULL && !wrong; edge = edge->next) {
            wrong = edge->whole < 0 || edge->whole > vocabulary ||
                    (out->count > 0 && edge->whole <= out->edges[out->count - 1]);
            if (!wrong) {
                out->edges[out->count++] = (int32_t)edge->whole;
            }
        }
    }
    if (f->status == EDGECAP_OK && (wrong || out->count == 0)) {
        bad(f, "a class is not made of ascending ranges of ids of the vocabulary", out->name);
    }
}

static int32_t class_of(const ec_grammar *grammar, const char *name)
{
    size_t i;
    for (i = 0; i < grammar->class_count; i++) {
        if (strcmp(grammar->classes[i].name, name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

int32_t ec_grammar_state(const ec_grammar *grammar, const char *name)
{
    size_t i;
    for (i = 0; i < grammar->state_count; i++) {
        if (strcmp(grammar->states[i].name, name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static void read_moves(ec_fields *f, const ec_json *list, ec_grammar *grammar, ec_rule_state *out)
{
    static const char *const fields[] = {"token", "to", "room", "above", NULL};
    const ec_json *item;
    if (!ec_is_kind(f, list, EC_JSON_LIST, "a state of the grammar")) {
        return;
    }
    out->moves = ec_field_array(f, list->count, sizeof *out->moves);
    for (item = list->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        ec_move *move = &out->moves[out->count++];
        const char *token, *to;
        int64_t room, above;
        if (!ec_check_fields(f, item, "a move of the grammar", fields, 0)) {
            return;
        }
        token = ec_string(f, item, "token");
        to = ec_string(f, item, "to");
        room = ec_whole(f, item, "room");
        above = ec_whole(f, item, "above");
        if (f->status != EDGECAP_OK) {
            return;
        }
        move->class_ = class_of(grammar, token);
        move->to = ec_grammar_state(grammar, to);
        if (move->class_ < 0 || move->to < 0) {
            bad(f, "a move names an unknown class or state", out->name);
            return;
        }
        if (room < 1 || room > MOST_ROOM || above < 0 || above > MOST_ROOM) {
            bad(f, "room must be 1-64 and above 0-64", out->name);
            return;
        }
        move->room = (int32_t)room;
        move->above = (int32_t)above;
    }
}

static bool overlap(const ec_class *a, const ec_class *b)
{
    size_t i, j;
    for (i = 0; i < a->count; i += 2) {
        for (j = 0; j < b->count; j += 2) {
            if (a->edges[i] < b->edges[j + 1] && b->edges[j] < a->edges[i + 1]) {
                return true;
            }
        }
    }
    return false;
}

static void check_moves(ec_fields *f, const ec_grammar *grammar, const ec_rule_state *state,
                        int32_t end)
{
    size_t i, j;
    for (i = 0; i < state->count && f->status == EDGECAP_OK; i++) {
        const ec_class *class_ = &grammar->classes[state->moves[i].class_];
        if (grammar->states[state->moves[i].to].count == 0 &&
            !(class_->count == 2 && class_->edges[0] == end && class_->edges[1] == end + 1)) {
            bad(f, "a state ends by another token than the end", state->name);
        }
        for (j = 0; j < i; j++) {
            if (overlap(class_, &grammar->classes[state->moves[j].class_])) {
                bad(f, "a state has two moves for one token", state->name);
            }
        }
    }
}

static int32_t read_start(ec_fields *f, const ec_json *start, const char *name,
                          const ec_grammar *grammar)
{
    int32_t state = ec_grammar_state(grammar, ec_string(f, start, name));
    if (f->status == EDGECAP_OK && (state < 0 || grammar->states[state].count == 0)) {
        bad(f, "a start is no state with moves", name);
    }
    return state;
}

static void read_starts(ec_fields *f, const ec_json *start, ec_grammar *grammar)
{
    const ec_json *item;
    for (item = start->first; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, "a start of the grammar")) {
            return;
        }
    }
    if (start->count != 2 || ec_json_get(start, "boxes") == NULL ||
        ec_json_get(start, "plain") == NULL) {
        bad(f, "start must name boxes and plain", "start");
        return;
    }
    grammar->boxes = read_start(f, start, "boxes", grammar);
    grammar->plain = read_start(f, start, "plain", grammar);
}

/* From every state moves must lead to one without moves, which is behind the end token. */
static void check_ends(ec_fields *f, const ec_grammar *grammar)
{
    bool ending[MOST_STATES] = {false};
    bool more = true;
    size_t i, j;
    while (more) {
        more = false;
        for (i = 0; i < grammar->state_count; i++) {
            const ec_rule_state *state = &grammar->states[i];
            bool ends = state->count == 0;
            for (j = 0; j < state->count && !ends; j++) {
                ends = ending[state->moves[j].to];
            }
            if (ends && !ending[i]) {
                ending[i] = true;
                more = true;
            }
        }
    }
    for (i = 0; i < grammar->state_count; i++) {
        if (!ending[i]) {
            bad(f, "no way leads to the end token", grammar->states[i].name);
            return;
        }
    }
}

edgecap_status ec_grammar_read(ec_fields *f, const ec_json *table, int64_t vocabulary, int32_t end,
                               ec_grammar *grammar)
{
    static const char *const fields[] = {"start", "classes", "states", NULL};
    const ec_json *start, *classes, *states, *item;
    size_t i;
    memset(grammar, 0, sizeof *grammar);
    if (!ec_check_fields(f, table, "grammar", fields, 0)) {
        return f->status;
    }
    start = ec_inner(f, table, "start", EC_JSON_OBJECT);
    classes = ec_inner(f, table, "classes", EC_JSON_OBJECT);
    states = ec_inner(f, table, "states", EC_JSON_OBJECT);
    if (f->status != EDGECAP_OK) {
        return f->status;
    }
    if (classes->count > MOST_STATES || states->count > MOST_STATES) {
        return bad(f, "there are more than 64 states or classes", "states");
    }
    grammar->classes = ec_field_array(f, classes->count, sizeof *grammar->classes);
    grammar->states = ec_field_array(f, states->count, sizeof *grammar->states);
    for (item = classes->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        read_class(f, item, vocabulary, &grammar->classes[grammar->class_count++]);
    }
    for (item = states->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        const char *name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (name == NULL) {
            f->status = ec_no_memory(f->error);
            break;
        }
        grammar->states[grammar->state_count++].name = name;
    }
    for (item = states->first, i = 0; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        read_moves(f, item, grammar, &grammar->states[i++]);
    }
    for (i = 0; i < grammar->state_count && f->status == EDGECAP_OK; i++) {
        check_moves(f, grammar, &grammar->states[i], end);
    }
    if (f->status == EDGECAP_OK) {
        check_ends(f, grammar);
    }
    if (f->status == EDGECAP_OK) {
        read_starts(f, start, grammar);
    }
    return f->status;
}

edgecap_status ec_grammar_allowed(const ec_grammar *grammar, int32_t state, const int32_t *tokens,
                                  size_t count, size_t left, int32_t known, int32_t vocabulary,
                                  uint8_t *mask, edgecap_error *error)
{
    const ec_rule_state *from = &grammar->states[state];
    bool any = false;
    size_t i, j;
    memset(mask, 0, (size_t)vocabulary);
    for (i = 0; i < from->count; i++) {
        const ec_move *move = &from->moves[i];
        const ec_class *class_ = &grammar->classes[move->class_];
        int32_t low = 0;
        if (left < (size_t)move->room) {
            continue;
        }
        if (move->above != 0 && count >= (size_t)move->above) {
            low = tokens[count - (size_t)move->above] + 1;
        }
        for (j = 0; j < class_->count; j += 2) {
            int32_t begin = class_->edges[j] > low ? class_->edges[j] : low;
            int32_t end = class_->edges[j + 1] < known ? class_->edges[j + 1] : known;
            if (begin < end) {
                memset(mask + begin, 1, (size_t)(end - begin));
                any = true;
            }
        }
    }
    return any ? EDGECAP_OK
               : ec_fail(error, EDGECAP_BUNDLE, "bundle.grammar",
                         "no token may follow in state '%.60s'.", from->name);
}

int32_t ec_grammar_after(const ec_grammar *grammar, int32_t state, int32_t token)
{
    const ec_rule_state *from = &grammar->states[state];
    size_t i, j;
    for (i = 0; i < from->count; i++) {
        const ec_class *class_ = &grammar->classes[from->moves[i].class_];
        for (j = 0; j < class_->count; j += 2) {
            if (token >= class_->edges[j] && token < class_->edges[j + 1]) {
                return from->moves[i].to;
            }
        }
    }
    return state; /* not of a token that was allowed */
}
