/* Lists of values. */
#include <string.h>
#include "engine/list.h"
#include "engine/plan_internal.h"

Err list_new(Plan *plan, ListKind kind, int64_t n, List **out)
{
    List *l;
    TRY(plan_array(plan, 1, sizeof *l, &l));
    *l = (List){ .kind = kind, .n = n };
    TRY(plan_array(plan, n + 1, sizeof *l->item, &l->item));
    *out = l;
    return OK;
}

Err step_list(Step *s, int i, List *list)
{
    if (i < s->n_out && s->out[i]) buffer_hold(s->out[i], list);
    return OK;
}

static Err list_copy(Plan *plan, const List *from, List **out)
{
    List *l;
    TRY(list_new(plan, from->kind, from->n, &l));
    for (int64_t i = 0; i < from->n; i++) TRY(value_copy(plan, from->item[i], &l->item[i]));
    *out = l;
    return OK;
}

Err value_copy(Plan *plan, const Buffer *from, Buffer **out)
{
    Buffer *b;
    TRY(plan_array(plan, 1, sizeof *b, &b));
    b->name = from->name;
    if (from->list) {
        List *l;
        TRY(list_copy(plan, from->list, &l));
        buffer_hold(b, l);
    } else {
        TRY(buffer_set(b, from->dtype, &from->shape));
        TRY(plan_alloc(plan, b->bytes, &b->data));
        if (b->bytes) memcpy(b->data, from->data, b->bytes);
    }
    *out = b;
    return OK;
}

Err step_value(Plan *plan, Step *s, int i, const Buffer *from)
{
    if (i >= s->n_out || !s->out[i]) return OK;
    if (from->list) {
        List *l;
        TRY(list_copy(plan, from->list, &l));
        return step_list(s, i, l);
    }
    TRY(step_output(plan, s, i, from->dtype, &from->shape));
    if (from->bytes) memcpy(s->out[i]->data, from->data, from->bytes);
    return OK;
}

Err list_of(const Step *s, int i, ListKind kind, List **out)
{
    static const char *const NAME[] = { "sequence", "optional", "map" };
    const Buffer *b = s->in[i];
    if (!b || !b->list || b->list->kind != kind) return err_set(ERR_SHAPE, "'%s' is no %s.", b ? b->name : "", NAME[kind]);
    *out = b->list;
    return OK;
}
