/* How the elements of a stored tensor appear behind Transpose and Reshape: each axis as a size and a stride in stored elements. */
#pragma once
#include "onnx/model.h"

typedef struct ViewAxis { int64_t size, stride; } ViewAxis;
typedef struct View { int n; ViewAxis axis[MAX_RANK]; } View;      /* n -1: the axes are mixed, no strides describe it */

View view_of(const Shape *s);                                      /* dense; all mixed unless s is numbers */
/* perm NULL: axes reversed. */
void view_transpose(View *v, const int64_t *perm, int n_perm);
/* To a shape of as many elements. An axis may be split, and neighbours that lie one behind the other may be merged. */
void view_reshape(View *v, const Shape *to);
