/* What the operators of ai.onnx.ml share. */
#pragma once
#include "engine/plan_internal.h"

int  ml_floats(const Node *n, const char *name, const float **v);      /* count, 0 if absent */
int  ml_strings(const Node *n, const char *name, const Span **v);
/* Rows and columns of input 0, where a vector is one row. ERR_SHAPE, ERR_UNSUPPORTED. */
Err  ml_matrix(const Step *s, int64_t *rows, int64_t *columns);

typedef struct MlLabels { int n; const int64_t *ints; const Span *strings; } MlLabels;     /* one of the two lists is NULL */
Err  ml_labels(const Node *n, MlLabels *labels);                       /* ERR_FORMAT: none */
void ml_put_label(const MlLabels *l, Buffer *y, int64_t row, int64_t label);

/* The attribute post_transform: NONE, SOFTMAX, SOFTMAX_ZERO, LOGISTIC or PROBIT of a row of scores. */
void ml_transform(const Node *n, float *score, int64_t count);
/* Two classes by the single score s[0] of the second: s becomes the scores of both, transformed. probability: the score is one already. */
void ml_two_scores(const Node *n, float s[2], bool probability);
