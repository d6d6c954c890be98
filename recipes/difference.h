/* How far one tensor is from another: the figures of `oneshot compare`, gathered over samples. */
#pragma once
#include "onnx/tensor.h"

typedef struct Difference {
    int64_t elements, samples;
    double largest;                    /* max |a| */
    double worst;                      /* max |a - b|; infinity where exactly one of them is NaN or infinite */
    double dot, squares_a, squares_b, squares_error;
    double divergence;                 /* sum over rows of KL(softmax(a) || softmax(b)) */
    int64_t rows, agree;               /* rows of scores; where the highest class is the same. rows 0: no scores */
} Difference;

/* Adds b against a. ERR_SHAPE when types or shapes differ; strings and other types without numbers are ERR_UNSUPPORTED. */
Err    difference_add(Difference *d, const Tensor *a, const Tensor *b);
double difference_relative(const Difference *d);       /* worst / largest; 0 for equal tensors */
double difference_cosine(const Difference *d);         /* sum ab / sqrt(sum aa * sum bb); 1 for equal tensors */
double difference_sqnr(const Difference *d);           /* 10 log10(sum aa / sum (a-b)^2) in dB; infinity for equal tensors */
