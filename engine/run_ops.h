/* How operators are prepared: the `prep` column of the operator table. Each function checks the types of this step (ERR_UNSUPPORTED names what it does not run),
 * works out whatever depends on shapes and sets Step.run. Grouped by the file that holds them. */
#pragma once
#include "engine/plan.h"

Err unary_prep(Plan *plan, Step *s), is_what_prep(Plan *plan, Step *s), clip_prep(Plan *plan, Step *s);            /* run_unary.c */
Err binary_prep(Plan *plan, Step *s), where_prep(Plan *plan, Step *s);                                             /* run_binary.c */
Err view_prep(Plan *plan, Step *s), dropout_prep(Plan *plan, Step *s), transpose_prep(Plan *plan, Step *s), concat_prep(Plan *plan, Step *s);
Err split_prep(Plan *plan, Step *s), slice_prep(Plan *plan, Step *s), expand_prep(Plan *plan, Step *s), tile_prep(Plan *plan, Step *s);
Err depth_space_prep(Plan *plan, Step *s), pad_prep(Plan *plan, Step *s);                                          /* run_move.c */
Err matmul_prep(Plan *plan, Step *s), gemm_prep(Plan *plan, Step *s), matmul_integer_prep(Plan *plan, Step *s);
Err qlinear_matmul_prep(Plan *plan, Step *s);                                                                      /* run_product.c */
Err quantize_prep(Plan *plan, Step *s), dequantize_prep(Plan *plan, Step *s), dynamic_quantize_prep(Plan *plan, Step *s);  /* run_quant.c */
Err conv_prep(Plan *plan, Step *s), conv_transpose_prep(Plan *plan, Step *s), conv_integer_prep(Plan *plan, Step *s);
Err qlinear_conv_prep(Plan *plan, Step *s);  /* run_conv.c */
Err softmax_prep(Plan *plan, Step *s), batch_norm_prep(Plan *plan, Step *s), layer_norm_prep(Plan *plan, Step *s), channel_norm_prep(Plan *plan, Step *s);
Err lrn_prep(Plan *plan, Step *s), lp_norm_prep(Plan *plan, Step *s);                                              /* run_norm.c */
Err pool_prep(Plan *plan, Step *s), unpool_prep(Plan *plan, Step *s);                                              /* run_pool.c */
