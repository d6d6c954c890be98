/* Attention of one set of heads, whatever the operator that asks for it.
 *
 *     S = softcap(scale * Q K') + bias,   P = softmax(S) along the keys,   Y = P V
 *
 * Q (B,H,S,d), K (B,G,T,d), V (B,G,T,v), Y (B,H,S,v): each by strides, so heads may lie side by side or one after the other. H is a multiple of G; head h reads keys
 * and values g = h / (H / G). */
#pragma once
#include "engine/plan.h"

typedef struct HeadsOf { void *data; int64_t sample, head, row, column; } HeadsOf;        /* strides in elements; row or column is 1, column of y */

/* Something of shape (B,H,S,T), broadcast by zero strides: numbers that are added, or bools that say which keys are seen or hidden: scores of
 * hidden ones become `fill`. Keys from number `keys` on are not seen. data NULL: none. */
typedef enum BiasKind { BIAS_ADDED, BIAS_SEEN, BIAS_HIDDEN } BiasKind;
typedef struct Bias { const void *data; BiasKind kind; double fill; int64_t stride[4], keys; } Bias;

typedef enum ScoresWanted { SCORES_RAW, SCORES_CAPPED, SCORES_BIASED, SCORES_SOFTMAX } ScoresWanted;

typedef struct Attend {
    DType   dtype;                 /* float32 or float64, of everything but bools */
    int64_t batch, heads, kv_heads, length, total, size, value_size;
    double  scale, softcap;        /* softcap 0: none */
    HeadsOf q, k, v, y;
    int64_t panel;                 /* 0, or the tokens of all four lie in panels of so many, see engine/panels.h: strides are those of the same tokens in rows */
    Bias    bias[2];
    bool    causal;                /* query i sees the keys up to past + i */
    int64_t past;
    int64_t window;                /* ... and only the last so many of them; 0: all */
    const int64_t *keys;           /* (B) how many keys a sample has; NULL: total */
    const int64_t *first;          /* (B) the position of query 0, in place of past; NULL */
    void   *scores; ScoresWanted wanted;   /* (B,H,S,T), or NULL */
} Attend;

/* Bytes of scratch that attend needs. ERR_ARG when ONESHOT_ISA names no instruction set of this machine, ERR_SHAPE for sizes that no product can have. */
Err  attend_scratch(const Plan *plan, const Attend *a, size_t *bytes);
void attend(const Plan *plan, const Attend *a, void *scratch);

/* With a query in each column, engine/attend_columns.c: for many queries and nothing but a scale and a mask of numbers between the products. */
bool   attend_columns_suit(const Attend *a, int panel);        /* before data is there: whether tokens may lie in panels of so many; attend_scratch holds for both then */
bool   attend_columns_fit(const Attend *a);                    /* whether it is the way to run this, masks looked into */
size_t attend_columns_scratch(const Attend *a);                /* bytes for a thread; 0: never run so */
void   attend_columns(const Plan *plan, const Attend *a, void *scratch);

/* Runs part part[0] of part[1] of the queries that read head sample_head[1] of the keys and values of sample sample_head[0], with scratch of its thread. */
typedef void AttendPart(const Attend *a, const void *layout, const int64_t sample_head[2], const int64_t part[2], void *scratch);
/* All of them, shared by the threads. bytes: of a thread's scratch. */
void   attend_share(const Plan *plan, const Attend *a, AttendPart *run, const void *layout, size_t bytes, void *scratch);

/* b of rank up to 4 as a bias for (B,H,S,T), trailing axes matched; `partly`: its last axis may be shorter than T and is not broadcast. ERR_SHAPE when it
 * does not fit. */
Err  attend_bias(const Attend *a, const Buffer *b, bool partly, Bias *out);

/* b (B,H,S,d), or (B,S,H*d) for that many heads, as rows of heads. */
HeadsOf heads_of(const Buffer *b, int64_t heads);
/* Copies rows of heads whose columns are neighbours, size (B,G,rows,columns). */
void heads_copy(const Plan *plan, const HeadsOf *from, const HeadsOf *to, const int64_t size[4], size_t element);
