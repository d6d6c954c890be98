/* Fourier transforms and what goes with them.     https://onnx.ai/onnx/operators/onnx__DFT.html , onnx__STFT.html , onnx__MelWeightMatrix.html
 * Complex numbers are pairs along a last axis of size 2; everything is computed in double. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

typedef struct Complex { double re, im; } Complex;

/* y[k] = sum_i x[i * step] exp(sign * 2 pi j i k / n). Halved while n is even, term by term otherwise. t: n more numbers of scratch. */
static void transform(const Complex *x, int64_t step, int64_t n, double sign, Complex *y, Complex *t)
{
    if (n % 2 || n < 4) {
        for (int64_t k = 0; k < n; k++) {
            Complex sum = { 0 };
            for (int64_t i = 0; i < n; i++) {
                double angle = sign * 2 * M_PI * (double)(i * k % n) / (double)n, c = cos(angle), s = sin(angle);
                sum.re += x[i * step].re * c - x[i * step].im * s;
                sum.im += x[i * step].re * s + x[i * step].im * c;
            }
            y[k] = sum;
        }
        return;
    }
    int64_t half = n / 2;
    transform(x, 2 * step, half, sign, t, y);
    transform(x + step, 2 * step, half, sign, t + half, y);
    for (int64_t k = 0; k < half; k++) {
        double angle = sign * 2 * M_PI * (double)k / (double)n, c = cos(angle), s = sin(angle);
        Complex a = t[k], b = { t[half + k].re * c - t[half + k].im * s, t[half + k].re * s + t[half + k].im * c };
        y[k] = (Complex){ a.re + b.re, a.im + b.im };
        y[half + k] = (Complex){ a.re - b.re, a.im - b.im };
    }
}

static Complex load(const Buffer *x, int64_t at, int64_t parts)
{
    Complex c = { 0 };
    elements_to_f64(x->dtype, x->data, at * parts, 1, &c.re);
    if (parts == 2) elements_to_f64(x->dtype, x->data, at * parts + 1, 1, &c.im);
    return c;
}

static void store(Buffer *y, int64_t at, int64_t parts, const Complex *c) { elements_from_f64(y->dtype, &c->re, parts, y->data, at * parts); }

static Err float_signal(const Step *s)
{
    const Buffer *x = s->in[0];
    if (!dtype_is_float(x->dtype)) return step_refuse(s, "input", x);
    if (x->shape.rank < 2 || x->shape.dim[x->shape.rank - 1] < 1 || x->shape.dim[x->shape.rank - 1] > 2)
        return err_set(ERR_SHAPE, "The last axis of a signal has size 1 or 2.");
    return OK;
}

/* DFT ----------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Dft { int64_t outer, in, inner, out, length, parts_in, parts_out; bool inverse, half; } Dft;

/* Element i of the line: beyond the input 0; of half a spectrum the rest is the mirror image. */
static Complex line_at(const Dft *d, const Buffer *x, int64_t start, int64_t i)
{
    bool mirror = d->inverse && d->half && i > d->length / 2;
    int64_t at = mirror ? d->length - i : i;
    if (at >= d->in) return (Complex){ 0 };
    Complex c = load(x, start + at * d->inner, d->parts_in);
    if (mirror) c.im = -c.im;
    return c;
}

static Err dft_run(Plan *plan, Step *s)
{
    const Dft *d = s->state;
    Complex *line = (Complex *)s->scratch, *y = line + d->length, *t = y + d->length;
    (void)plan;
    for (int64_t r = 0; r < d->outer * d->inner; r++) {
        int64_t o = r / d->inner, i = r % d->inner;
        for (int64_t k = 0; k < d->length; k++) line[k] = line_at(d, s->in[0], o * d->in * d->inner + i, k);
        transform(line, 1, d->length, d->inverse ? 1 : -1, y, t);
        for (int64_t k = 0; k < d->out; k++) {
            if (d->inverse) { y[k].re /= (double)d->length; y[k].im /= (double)d->length; }
            store(s->out[0], (o * d->out + k) * d->inner + i, d->parts_out, &y[k]);
        }
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
    if (s->in[2]) elements_to_i64(s->in[2]->dtype, s->in[2]->data, 0, 1, &at);
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
    s->state = d;
    s->scratch_bytes = (size_t)d->length * 3 * sizeof(Complex);
    s->run = dft_run;
    return OK;
}

/* STFT: frames of the signal, each multiplied by the window --------------------------------------------------------------------------------------- */

typedef struct Stft { int64_t batch, signal, frames, bins, length, step, parts; } Stft;

static Err stft_run(Plan *plan, Step *s)
{
    const Stft *f = s->state;
    const Buffer *window = s->in[2];
    Complex *line = (Complex *)s->scratch, *y = line + f->length, *t = y + f->length;
    (void)plan;
    for (int64_t r = 0; r < f->batch * f->frames; r++) {
        for (int64_t i = 0; i < f->length; i++) {
            double w = 1;
            if (window) elements_to_f64(window->dtype, window->data, i, 1, &w);
            line[i] = load(s->in[0], r / f->frames * f->signal + r % f->frames * f->step + i, f->parts);
            line[i].re *= w;
            line[i].im *= w;
        }
        transform(line, 1, f->length, -1, y, t);
        for (int64_t k = 0; k < f->bins; k++) store(s->out[0], r * f->bins + k, 2, &y[k]);
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
    s->state = f;
    s->scratch_bytes = (size_t)f->length * 3 * sizeof(Complex);
    s->run = stft_run;
    return OK;
}

/* MelWeightMatrix: triangles over the bins of a spectrum, evenly spaced on the mel scale ---------------------------------------------------------------- */

static double real_at(const Buffer *b)
{
    double v;
    elements_to_f64(b->dtype, b->data, 0, 1, &v);
    return v;
}

static int64_t mel_edge(const Step *s, int64_t i, int64_t bands)
{
    double low = 2595 * log10(1 + real_at(s->in[3]) / 700), high = 2595 * log10(1 + real_at(s->in[4]) / 700);
    double hertz = 700 * (pow(10, ((double)i * (high - low) / (double)(bands + 2) + low) / 2595) - 1);
    return (int64_t)floor((real_at(s->in[1]) + 1) * hertz / real_at(s->in[2]));
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
    if (real_at(s->in[2]) <= 0) return err_set(ERR_ARG, "MelWeightMatrix needs a sample rate above 0.");
    if (s->out[0]->shape.rank != 2 || !dtype_is_real(s->out[0]->dtype)) return step_refuse(s, "output", s->out[0]);
    s->run = mel_run;
    return OK;
}
