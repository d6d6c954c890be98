/* NonMaxSuppression: of boxes that overlap the best stays.   boxes (B,N,4), scores (B,C,N) -> rows (batch, class, box)
 * https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html */
#include <string.h>
#include "engine/element.h"
#include "engine/run_ops.h"

typedef struct Box { double y0, x0, y1, x1; } Box;

static Box box_of(const float *v, bool center)
{
    double a = (double)v[0], b = (double)v[1], c = (double)v[2], d = (double)v[3];
    if (center) return (Box){ b - d / 2, a - c / 2, b + d / 2, a + c / 2 };        /* x, y, width, height */
    return (Box){ a < c ? a : c, b < d ? b : d, a < c ? c : a, b < d ? d : b };
}

static double overlap(Box a, Box b)
{
    double h = (a.y1 < b.y1 ? a.y1 : b.y1) - (a.y0 > b.y0 ? a.y0 : b.y0), w = (a.x1 < b.x1 ? a.x1 : b.x1) - (a.x0 > b.x0 ? a.x0 : b.x0);
    if (h <= 0 || w <= 0) return 0;
    double both = h * w, all = (a.y1 - a.y0) * (a.x1 - a.x0) + (b.y1 - b.y0) * (b.x1 - b.x0) - both;
    return all > 0 ? both / all : 0;
}

/* Indices of the scores above the threshold, best first, equal ones in their order (insertion into a binary heap would lose that). */
static int64_t order(const float *score, int64_t n, double threshold, bool all, int64_t *idx, int64_t *spare)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) if (all || (double)score[i] > threshold) idx[count++] = i;
    for (int64_t width = 1; width < count; width *= 2) {       /* bottom-up merge sort */
        for (int64_t i = 0; i < count; i += 2 * width) {
            int64_t mid = i + width < count ? i + width : count, end = i + 2 * width < count ? i + 2 * width : count, l = i, r = mid;
            for (int64_t k = i; k < end; k++) spare[k] = l == mid || (r < end && score[idx[r]] > score[idx[l]]) ? idx[r++] : idx[l++];
        }
        memcpy(idx, spare, (size_t)count * sizeof *idx);
    }
    return count;
}

static double number(const Step *s, int i, double otherwise)
{
    double v = otherwise;
    if (i < s->n_in && s->in[i] && s->in[i]->count) v = number_at(s->in[i], 0);
    return v;
}

typedef struct Rule { int64_t most; double threshold; bool center; } Rule;

/* The best boxes, none of which overlaps a better one by more than the threshold. */
static int64_t suppress(const float *boxes, const int64_t *idx, int64_t count, const Rule *r, int64_t *kept)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count && n < r->most; i++) {
        bool free_of = true;
        Box b = box_of(boxes + 4 * idx[i], r->center);
        for (int64_t k = 0; k < n && free_of; k++) free_of = overlap(b, box_of(boxes + 4 * kept[k], r->center)) <= r->threshold;
        if (free_of) kept[n++] = idx[i];
    }
    return n;
}

static Err nms_run(Plan *plan, Step *s)
{
    const float *boxes = s->in[0]->data, *scores = s->in[1]->data;
    int64_t batch = s->in[0]->shape.dim[0], n = s->in[0]->shape.dim[1], classes = s->in[1]->shape.dim[1], total = 0;
    double wanted = number(s, 2, 0);
    bool center = attr_i(s->node, "center_point_box", 0), all = s->n_in < 5 || !s->in[4];
    int64_t *idx = (int64_t *)s->scratch, *spare = idx + n, *kept = spare + n, *list;
    int64_t most = wanted > 0 ? wanted < (double)n ? (int64_t)wanted : n : 0;
    if (!most) return step_output(plan, s, 0, DT_I64, &(Shape){ 2, { 0, 3 } });
    const Rule rule = { most, number(s, 3, 0), center };
    TRY(plan_array(plan, batch * classes * most * 3 + 1, sizeof *list, &list));
    for (int64_t b = 0; b < batch; b++)
        for (int64_t c = 0; c < classes; c++) {
            int64_t count = order(scores + (b * classes + c) * n, n, number(s, 4, 0), all, idx, spare);
            int64_t k = suppress(boxes + b * n * 4, idx, count, &rule, kept);
            for (int64_t i = 0; i < k; i++, total++) { list[3 * total] = b; list[3 * total + 1] = c; list[3 * total + 2] = kept[i]; }
        }
    TRY(step_output(plan, s, 0, DT_I64, &(Shape){ 2, { total, 3 } }));
    memcpy(s->out[0]->data, list, (size_t)total * 3 * sizeof *list);
    return OK;
}

Err nms_prep(Plan *plan, Step *s)
{
    const Shape *b = &s->in[0]->shape, *c = &s->in[1]->shape;
    (void)plan;
    for (int i = 0; i < 2; i++) if (s->in[i]->dtype != DT_F32) return step_refuse(s, "input", s->in[i]);
    if (b->rank != 3 || c->rank != 3 || b->dim[2] != 4 || b->dim[0] != c->dim[0] || b->dim[1] != c->dim[2])
        return err_set(ERR_SHAPE, "Boxes and scores do not fit together.");
    s->scratch_bytes = (size_t)b->dim[1] * 3 * sizeof(int64_t) + 64;
    s->run = nms_run;
    return OK;
}
