/* Sequences and optionals. What they hold is not followed. */
#include "engine/infer.h"
#include "engine/run_ops.h"

static Err length_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in;
    out[0].dtype = DT_I64;
    out[0].shape.rank = 0;
    return OK;
}

static Err has_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in;
    out[0].dtype = DT_BOOL;
    out[0].shape.rank = 0;
    return OK;
}

/* Of a tensor: itself (opset 18). */
static Err get_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    return in[0] && in[0]->is_tensor ? infer_identity(x, n, in, out) : OK;
}

const Op op_ConcatFromSequence = { "ConcatFromSequence", "", 11, 1, 1, 1, 1, .infer = infer_nothing, .prep = sequence_prep, .lists = true };
const Op op_Optional = { "Optional", "", 15, 0, 1, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
const Op op_OptionalGetElement = { "OptionalGetElement", "", 15, 1, 1, 1, 1, .infer = get_infer, .prep = sequence_prep, .lists = true };
const Op op_OptionalHasElement = { "OptionalHasElement", "", 15, 0, 1, 1, 1, .infer = has_infer, .prep = sequence_prep, .lists = true };
const Op op_SequenceAt = { "SequenceAt", "", 11, 2, 2, 1, 1, .infer = infer_nothing, .prep = sequence_prep, .lists = true };
const Op op_SequenceConstruct = { "SequenceConstruct", "", 11, 1, -1, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
const Op op_SequenceEmpty = { "SequenceEmpty", "", 11, 0, 0, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
const Op op_SequenceErase = { "SequenceErase", "", 11, 1, 2, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
const Op op_SequenceInsert = { "SequenceInsert", "", 11, 2, 3, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
const Op op_SequenceLength = { "SequenceLength", "", 11, 1, 1, 1, 1, .infer = length_infer, .prep = sequence_prep, .lists = true };
const Op op_SequenceMap = { "SequenceMap", "", 17, 1, -1, 1, -1, .infer = infer_not_tensor, .prep = sequence_map_prep, .lists = true };
const Op op_SplitToSequence = { "SplitToSequence", "", 11, 1, 2, 1, 1, .infer = infer_not_tensor, .prep = sequence_prep, .lists = true };
