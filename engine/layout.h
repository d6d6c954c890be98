/* How the channels of images lie. What a product writes of all images are rows of one matrix, however few pixels an image has, but for BY_IMAGE with several images. */
#pragma once

typedef enum Layout {
    BY_IMAGE,                  /* (batch, channels, pixels), as in ONNX */
    BY_CHANNEL = -1,           /* (channels, batch, pixels), where images share panels */
    IN_PANELS = -2,            /* (panels, channels, columns of a panel), as sparse products cut the pixels of all images: a product of pixels reads it where it
                                * lies. Of a panel that is longer than others, columns beyond their width follow behind all of its channels. */
} Layout;
