/* How operators are prepared: the `prep` column of the operator table. Each function checks the types of this step (ERR_UNSUPPORTED names what it does not run),
 * works out whatever depends on shapes and sets Step.run. Grouped by the file that holds them. */
#pragma once
#include "engine/element.h"
#include "engine/plan.h"

typedef struct Kernels Kernels;                /* kernels/kernels.h */
/* The kernels of this machine; ERR_ARG when $ONESHOT_ISA names a level that does not run here. */
Err find_kernels(const Kernels **out);
/* Whether a product's prep applies what was fused into the step: Op.fuses. */
int conv_fuses(const Step *s), conv_transpose_fuses(const Step *s), matmul_fuses(const Step *s), gemm_fuses(const Step *s);
/* Whether prep makes a step of planes: Op.planes. */
bool conv_planes(const Step *s, PanelWindow *window), pool_planes(const Step *s, PanelWindow *window);
/* An operand of com.microsoft's FusedMatMul with transBatchA or transBatchB: axis 0 stands behind the other leading axes. */
Shape leading_behind(const Shape *s);

/* Element i of a buffer, see engine/element.h. */
static inline double number_at(const Buffer *b, int64_t i)
{
    double v;
    if (b->dtype == DT_F32) return (double)((const float *)b->data)[i];
    elements_to_f64(b->dtype, b->data, i, 1, &v);
    return v;
}
static inline int64_t whole_at(const Buffer *b, int64_t i)
{
    int64_t v;
    elements_to_i64(b->dtype, b->data, i, 1, &v);
    return v;
}

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
Err cast_prep(Plan *plan, Step *s), bit_cast_prep(Plan *plan, Step *s);                                            /* run_cast.c */
Err reduce_prep(Plan *plan, Step *s), arg_prep(Plan *plan, Step *s), cumulate_prep(Plan *plan, Step *s);           /* run_reduce.c */
Err gather_prep(Plan *plan, Step *s), gather_each_prep(Plan *plan, Step *s), gather_nd_prep(Plan *plan, Step *s), scatter_prep(Plan *plan, Step *s);
Err scatter_nd_prep(Plan *plan, Step *s), nonzero_prep(Plan *plan, Step *s), compress_prep(Plan *plan, Step *s), one_hot_prep(Plan *plan, Step *s);
Err reverse_sequence_prep(Plan *plan, Step *s);                                                                    /* run_index.c */
Err constant_prep(Plan *plan, Step *s), shape_prep(Plan *plan, Step *s), size_prep(Plan *plan, Step *s), constant_of_shape_prep(Plan *plan, Step *s);
Err range_prep(Plan *plan, Step *s), eye_prep(Plan *plan, Step *s), trilu_prep(Plan *plan, Step *s), window_prep(Plan *plan, Step *s);  /* run_fill.c */
Err topk_prep(Plan *plan, Step *s), unique_prep(Plan *plan, Step *s);                                              /* run_sort.c */
Err if_prep(Plan *plan, Step *s), loop_prep(Plan *plan, Step *s), scan_prep(Plan *plan, Step *s), sequence_map_prep(Plan *plan, Step *s); /* run_control.c */
Err recur_prep(Plan *plan, Step *s);                                                                               /* run_recur.c */
Err resize_prep(Plan *plan, Step *s);                                                                              /* run_resize.c */
Err loss_prep(Plan *plan, Step *s);                                                                                /* run_loss.c */
Err nms_prep(Plan *plan, Step *s);                                                                                 /* run_boxes.c */
Err einsum_prep(Plan *plan, Step *s);                                                                              /* run_einsum.c */
Err grid_prep(Plan *plan, Step *s);                                                                                /* run_sample.c */
Err qlinear_pair_prep(Plan *plan, Step *s), qlinear_average_prep(Plan *plan, Step *s);                              /* run_qlinear.c */
Err attention_prep(Plan *plan, Step *s), rotary_prep(Plan *plan, Step *s);                                         /* run_attention.c */
Err multi_head_prep(Plan *plan, Step *s);                                                                           /* run_attention_ms.c */
Err sequence_prep(Plan *plan, Step *s);                                                                             /* run_sequence.c */
Err linear_classifier_prep(Plan *plan, Step *s), linear_regressor_prep(Plan *plan, Step *s), scaler_prep(Plan *plan, Step *s);
Err normalizer_prep(Plan *plan, Step *s), binarizer_prep(Plan *plan, Step *s), imputer_prep(Plan *plan, Step *s), extract_prep(Plan *plan, Step *s);
Err vectorizer_prep(Plan *plan, Step *s), zip_prep(Plan *plan, Step *s);                                           /* run_ml.c */
Err label_prep(Plan *plan, Step *s), one_hot_encoder_prep(Plan *plan, Step *s);                                    /* run_label.c */
Err trees_prep(Plan *plan, Step *s);                                                                               /* run_trees.c */
Err svm_prep(Plan *plan, Step *s);                                                                                 /* run_svm.c */
Err string_concat_prep(Plan *plan, Step *s), equal_prep(Plan *plan, Step *s), string_split_prep(Plan *plan, Step *s);
Err string_normalizer_prep(Plan *plan, Step *s), tfidf_prep(Plan *plan, Step *s);                                  /* run_string.c */
Err dft_prep(Plan *plan, Step *s), stft_prep(Plan *plan, Step *s), mel_prep(Plan *plan, Step *s);                  /* run_signal.c */
Err roi_align_prep(Plan *plan, Step *s), roi_pool_prep(Plan *plan, Step *s), deform_prep(Plan *plan, Step *s);
Err affine_prep(Plan *plan, Step *s), col2im_prep(Plan *plan, Step *s);                                            /* run_region.c */
Err linear_attention_prep(Plan *plan, Step *s), causal_conv_prep(Plan *plan, Step *s), det_prep(Plan *plan, Step *s);
Err cache_scatter_prep(Plan *plan, Step *s), center_prep(Plan *plan, Step *s);                                     /* run_linear.c */
