/* Fourier transforms and what goes with them.     https://onnx.ai/onnx/operators/onnx__DFT.html , onnx__STFT.html , onnx__MelWeightMatrix.html
 * Complex numbers are pairs along a last axis of size 2; everything is computed in double. */
#include <math.h>
#include <omp.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "kernels/whole.h"

typedef struct Complex { double re, im; } Complex;

/* The powers of exp(sign * 2 pi j / n): every transform of a divisor of n points finds its own among them. */
typedef struct Roots { int64_t n; Complex *power; } Roots;

static Err roots_prepare(Plan *plan, int64_t n, double sign, Roots *r)
{
    r->n = n;
    TRY(plan_array(plan, n, sizeof *r->power, &r->power));
    for (int64_t k = 0; k < n; k++) r->power[k] = (Complex){ cos(2 * M_PI * (double)k / (double)n), sign * sin(2 * M_PI * (double)k / (double)n) };
    return OK;
}

static Complex times(Complex a, Complex b) { return (Complex){ a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re }; }
static Complex plus(Complex a, Complex b) { return (Complex){ a.re + b.re, a.im + b.im }; }
static Complex minus(Complex a, Complex b) { return (Complex){ a.re - b.re, a.im - b.im }; }

static int64_t smallest_factor(int64_t n)
{
    for (int64_t p = 2; p * p <= n; p++) if (n % p == 0) return p;
    return n;
}

/* y[k] = sum_i x[i * step] w^(i k), w = power[roots / n]. Cut by the smallest factor p of n into p transforms of every p-th point (Cooley & Tukey 1965). t: n
 * more numbers of scratch. */
static void transform(const Roots *w, const Complex *x, int64_t step, int64_t n, Complex *y, Complex *t)
{
    if (n == 1) {
        y[0] = x[0];
        return;
    }
    if (n == 2) {
        y[0] = plus(x[0], x[step]);
        y[1] = minus(x[0], x[step]);
        return;
    }
    int64_t p = smallest_factor(n), part = n / p, turn = w->n / n;
    for (int64_t i = 0; i < p; i++) transform(w, x + i * step, p * step, part, t + i * part, y + i * part);
    for (int64_t k = 0; k < part && p == 2; k++) {
        Complex b = times(t[part + k], w->power[k * turn]);
        y[k] = plus(t[k], b);
        y[part + k] = minus(t[k], b);
    }
    for (int64_t k = 0; k < n && p > 2; k++) {
        Complex sum = t[k % part];
        for (int64_t i = 1, at = k; i < p; i++, at = at + k < n ? at + k : at + k - n) sum = plus(sum, times(t[i * part + k % part], w->power[at * turn]));
        y[k] = sum;
    }
}

/* n elements of one part or two, every step-th. */
static void load_line(const Buffer *x, int64_t start, int64_t step, int64_t n, int64_t parts, Complex *line)
{
    double v[CHUNK];
    for (int64_t i = 0; i < n && step > 1; i++) {
        line[i].im = 0;
        elements_to_f64(x->dtype, x->data, (start + i * step) * parts, parts, &line[i].re);
    }
    if (step > 1) return;
    if (parts == 2) elements_to_f64(x->dtype, x->data, start * 2, n * 2, &line->re);
    else for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t some = lesser(n - first, CHUNK);
        elements_to_f64(x->dtype, x->data, start + first, some, v);
        for (int64_t i = 0; i < some; i++) line[first + i] = (Complex){ v[i], 0 };
    }
}

static void store_line(const Complex *line, int64_t n, Buffer *y, int64_t start, int64_t step, int64_t parts)
{
    if (step == 1 && parts == 2) elements_from_f64(y->dtype, &line->re, n * 2, y->data, start * 2);
    else for (int64_t k = 0; k < n; k++) elements_from_f64(y->dtype, &line[k].re, parts, y->data, (start + k * step) * parts);
}

static Err float_signal(const Step *s)
{
    const Buffer *x = s->in[0];
    if (!dtype_is_float(x->dtype)) return step_refuse(s, "input", x);
    if (x->shape.rank < 2 || x->shape.dim[x->shape.rank - 1] < 1 || x->shape.dim[x->shape.rank - 1] > 2)
        return err_set(ERR_SHAPE, "The last axis of a signal has size 1 or 2.");
    return OK;
}

/* DFT ----------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Dft { int64_t outer, in, inner, out, length, parts_in, parts_out; bool inverse, half; Roots roots; } Dft;

/* A line of the input: beyond it 0; of half a spectrum the rest is the mirror image. */
static void dft_line(const Dft *d, const Buffer *x, int64_t start, Complex *line)
{
    bool mirror = d->inverse && d->half;
    int64_t wanted = mirror ? d->length / 2 + 1 : d->length, given = lesser(d->in, wanted);
    load_line(x, start, d->inner, given, d->parts_in, line);
    memset(line + given, 0, (size_t)(d->length - given) * sizeof *line);
    for (int64_t i = wanted; i < d->length; i++) line[i] = (Complex){ line[d->length - i].re, -line[d->length - i].im };
}

static Err dft_run(Plan *plan, Step *s)
{
    const Dft *d = s->state;
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count > PARALLEL_WORK / 8)
    for (int64_t r = 0; r < d->outer * d->inner; r++) {
        Complex *line = (Complex *)s->scratch + 3 * d->length * omp_get_thread_num(), *y = line + d->length, *t = y + d->length;
        int64_t o = r / d->inner, i = r % d->inner;
        dft_line(d, s->in[0], o * d->in * d->inner + i, line);
        transform(&d->roots, line, 1, d->length, y, t);
        for (int64_t k = 0; k < d->out && d->inverse; k++) y[k] = (Complex){ y[k].re / (double)d->length, y[k].im / (double)d->length };
        store_line(y, d->out, s->out[0], o * d->out * d->inner + i, d->inner, d->parts_out);
    }
    return OK;
}

Err dft_prep(Plan *plan, Step *s)
{
    Dft *d;
    int axis = 0;
    TRY(float_signal(s));
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    int64_t at = attr_i(s->node, "axis", s->opset < 20 ? 1 : -2);
    if (s->in[2]) at = whole_at(s->in[2], 0);
    TRY(axis_of(at, x->rank, &axis));
    if (axis == x->rank - 1) return err_set(ERR_SHAPE, "A DFT cannot run along the axis of real and imaginary parts.");
    TRY(plan_array(plan, 1, sizeof *d, &d));
    *d = (Dft){ .outer = shape_span(x, 0, axis), .in = x->dim[axis], .inner = shape_span(x, axis + 1, x->rank - 1), .parts_in = x->dim[x->rank - 1],
        .inverse = attr_i(s->node, "inverse", 0), .half = attr_i(s->node, "onesided", 0) };
    d->out = y->dim[axis];
    d->parts_out = y->dim[y->rank - 1];
    d->length = d->half && d->inverse ? 2 * (d->in - 1) : d->in;
    if (s->in[1]) elements_to_i64(s->in[1]->dtype, s->in[1]->data, 0, 1, &d->length);
    if (d->length < 1 || d->length > 1 << 26 || d->out > d->length) return err_set(ERR_SHAPE, "A DFT of %lld points cannot be run.", (long long)d->length);
    TRY(roots_prepare(plan, d->length, d->inverse ? 1 : -1, &d->roots));
    s->state = d;
    s->scratch_bytes = (size_t)d->length * 3 * sizeof(Complex) * (size_t)plan->threads;
    s->run = dft_run;
    return OK;
}

/* STFT: frames of the signal, each multiplied by the window --------------------------------------------------------------------------------------- */

typedef struct Stft { int64_t batch, signal, frames, bins, length, step, parts; Roots roots; } Stft;

static Err stft_run(Plan *plan, Step *s)
{
    const Stft *f = s->state;
    const Buffer *window = s->in[2];
    double *weight = (double *)s->scratch;
    Complex *lines = (Complex *)(weight + 2 * f->length);
    if (window) elements_to_f64(window->dtype, window->data, 0, f->length, weight);
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count > PARALLEL_WORK / 8)
    for (int64_t r = 0; r < f->batch * f->frames; r++) {
        Complex *line = lines + 3 * f->length * omp_get_thread_num(), *y = line + f->length, *t = y + f->length;
        load_line(s->in[0], r / f->frames * f->signal + r % f->frames * f->step, 1, f->length, f->parts, line);
        for (int64_t i = 0; i < f->length && window; i++) line[i] = (Complex){ line[i].re * weight[i], line[i].im * weight[i] };
        transform(&f->roots, line, 1, f->length, y, t);
        store_line(y, f->bins, s->out[0], r * f->bins, 1, 2);
    }
    return OK;
}

Err stft_prep(Plan *plan, Step *s)
{
    Stft *f;
    TRY(float_signal(s));
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    TRY(plan_array(plan, 1, sizeof *f, &f));
    *f = (Stft){ .batch = x->dim[0], .signal = x->dim[1], .parts = x->rank == 3 ? x->dim[2] : 1 };
    elements_to_i64(s->in[1]->dtype, s->in[1]->data, 0, 1, &f->step);
    if (s->in[3]) elements_to_i64(s->in[3]->dtype, s->in[3]->data, 0, 1, &f->length);
    else if (s->in[2]) f->length = s->in[2]->count;
    if (x->rank != 3 || f->length < 1 || f->length > f->signal || f->step < 1 || (s->in[2] && s->in[2]->count != f->length))
        return err_set(ERR_SHAPE, "The frames of an STFT do not fit its signal or its window.");
    f->frames = (f->signal - f->length) / f->step + 1;
    f->bins = attr_i(s->node, "onesided", 1) ? f->length / 2 + 1 : f->length;
    if (y->rank >= 0 && (y->dim[1] != f->frames || y->dim[2] != f->bins)) return err_set(ERR_SHAPE, "The output of an STFT has another shape.");
    if (y->rank < 0) TRY(step_output(plan, s, 0, s->in[0]->dtype, &(Shape){ 4, { f->batch, f->frames, f->bins, 2 } }));
    TRY(roots_prepare(plan, f->length, -1, &f->roots));
    s->state = f;
    s->scratch_bytes = (size_t)f->length * (1 + 3 * (size_t)plan->threads) * sizeof(Complex);
    s->run = stft_run;
    return OK;
}

/* MelWeightMatrix: triangles over the bins of a spectrum, evenly spaced on the mel scale ---------------------------------------------------------------- */

static int64_t mel_edge(const Step *s, int64_t i, int64_t bands)
{
    double low = 2595 * log10(1 + number_at(s->in[3], 0) / 700), high = 2595 * log10(1 + number_at(s->in[4], 0) / 700);
    double hertz = 700 * (pow(10, ((double)i * (high - low) / (double)(bands + 2) + low) / 2595) - 1);
    return (int64_t)floor((number_at(s->in[1], 0) + 1) * hertz / number_at(s->in[2], 0));
}

static Err mel_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    int64_t bins = y->shape.dim[0], bands = y->shape.dim[1];
    (void)plan;
    for (int64_t i = 0; i < bands; i++) {
        int64_t left = mel_edge(s, i, bands), center = mel_edge(s, i + 1, bands), right = mel_edge(s, i + 2, bands);
        for (int64_t j = 0; j < bins; j++) {
            double v = 0;
            if (j == center && left == center) v = 1;
            else if (j >= left && j <= center) v = (double)(j - left) / (double)(center - left);
            if (j >= center && j < right) v = (double)(right - j) / (double)(right - center);
            elements_from_f64(y->dtype, &v, 1, y->data, j * bands + i);
        }
    }
    return OK;
}

Err mel_prep(Plan *plan, Step *s)
{
    (void)plan;
    for (int i = 0; i < 5; i++) if (s->in[i]->count != 1 || !dtype_is_real(s->in[i]->dtype)) return err_set(ERR_SHAPE, "MelWeightMatrix needs single numbers.");
    if (number_at(s->in[2], 0) <= 0) return err_set(ERR_ARG, "MelWeightMatrix needs a sample rate above 0.");
    if (s->out[0]->shape.rank != 2 || !dtype_is_real(s->out[0]->dtype)) return step_refuse(s, "output", s->out[0]);
    s->run = mel_run;
    return OK;
}
