/* Figures of repeated measurements: a series of numbers and what it comes to. */
#pragma once
#include "onnx/arena.h"
#include "onnx/error.h"

typedef struct Series {
    Arena  *arena;             /* where it grows */
    double *at; int n;         /* in the order of series_add until series_sort */
} Series;

Err series_add(Series *s, double x);
void series_sort(Series *s);                           /* ascending */
/* The value below which the share q of a sorted series lies, between neighbours linearly (NumPy's default); NaN of none. */
double series_quantile(const Series *sorted, double q);
double series_mean(const Series *s);                   /* NaN of none */
double series_deviation(const Series *s);              /* of the whole population, as numpy.std; NaN of none */
double series_median(const Series *s);                 /* of a series in any order, which stays as it is; NaN of none or when memory is out */
