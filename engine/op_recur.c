/* Recurrent networks.   X (S,B,I)  W (D, g*H, I)  R (D, g*H, H)   Y (S,D,B,H)  last states (D,B,H)
 * D directions, g gates (RNN 1, GRU 3, LSTM 4); with layout 1 the batch stands first: X (B,S,I), Y (B,S,D,H), states (B,D,H).
 * https://onnx.ai/onnx/operators/onnx__LSTM.html */
#include "engine/product.h"
#include "engine/run_ops.h"

static Err recur_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    bool batch_first = attr_i(n, "layout", 0) != 0;
    int64_t hidden = attr_i(n, "hidden_size", DIM_UNKNOWN), steps = DIM_UNKNOWN, batch = DIM_UNKNOWN;
    int64_t directions = attr_s_is(n, "direction", "bidirectional", false) ? 2 : 1;
    if (fact_shaped(in[2]) && in[2]->shape.rank == 3 && hidden == DIM_UNKNOWN) hidden = in[2]->shape.dim[2];
    if (fact_shaped(in[0])) {
        if (in[0]->shape.rank != 3) return err_set(ERR_SHAPE, "X has rank %d, expected 3", in[0]->shape.rank);
        steps = in[0]->shape.dim[batch_first];
        batch = in[0]->shape.dim[!batch_first];
    }
    for (int i = 0; i < 3 && in[0]; i++) out[i].dtype = in[0]->dtype;
    out[0].shape = batch_first ? shape_of(4, (int64_t[]){ batch, steps, directions, hidden }) : shape_of(4, (int64_t[]){ steps, directions, batch, hidden });
    out[1].shape = batch_first ? shape_of(3, (int64_t[]){ batch, directions, hidden }) : shape_of(3, (int64_t[]){ directions, batch, hidden });
    out[2].shape = out[1].shape;
    return OK;
}

static bool recur_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    (void)n;
    if ((input != 1 && input != 2) || weight->shape.rank != 3) return false;
    role[0] = AXIS_BATCH;
    role[1] = AXIS_OUT;
    role[2] = AXIS_IN;
    return true;
}

/* Every step meets all of W and R. */
static Err recur_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    (void)n, (void)out;
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3) return err_set(ERR_SHAPE, "the shape of X is unknown");
    int64_t w, r;
    TRY(macs_of(&in[1]->shape, in[0]->shape.dim, 2, &w));
    TRY(macs_of(&in[2]->shape, in[0]->shape.dim, 2, &r));
    *macs = w + r;                                             /* each below 2^62 */
    return OK;
}

const Op op_GRU = { "GRU", "", 3, 3, 6, 0, 2, .infer = recur_infer, .prep = recur_prep, .roles = recur_roles, .macs = recur_macs };
const Op op_LSTM = { "LSTM", "", 1, 3, 8, 0, 3, .infer = recur_infer, .prep = recur_prep, .roles = recur_roles, .macs = recur_macs };
const Op op_RNN = { "RNN", "", 1, 3, 6, 0, 2, .infer = recur_infer, .prep = recur_prep, .roles = recur_roles, .macs = recur_macs };
