/* Windows that slide over one channel (a plane of height x width floats, rows without gaps): pooling.
 * The geometry is a PanelWindow, whose `plane` is not used; output pixel (oy, ox) sees x[iy][ix], iy = oy * stride[0] + ky * dilation[0] - pad[0] (ix likewise), for
 * all ky, kx; what lies outside of the image does not count. */
#pragma once
#include "kernels/panel.h"

typedef enum Pooling { POOLING_MAX, POOLING_SUM } Pooling;
