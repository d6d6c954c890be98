/* The library in use: prune IN.onnx OUT.onnx SPARSITY
 *     cc examples/prune.c $(pkg-config --cflags --libs oneshot) -o prune */
#include <oneshot.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "prune IN.onnx OUT.onnx SPARSITY\n");
        return 2;
    }
    oneshot_model *model = NULL;
    oneshot_numbers numbers;
    oneshot_prune_options options = oneshot_prune_defaults();
    options.sparsity = atof(argv[3]);
    oneshot_status status = oneshot_load(argv[1], &model);
    if (status == ONESHOT_OK) status = oneshot_prune(model, &options);
    if (status == ONESHOT_OK) status = oneshot_inspect(model, &numbers);
    if (status == ONESHOT_OK) status = oneshot_save(model, argv[2], 0);
    if (status == ONESHOT_OK)
        printf("oneshot %s: %lld of %lld weights are zero now\n", oneshot_version(), (long long)numbers.prunable_zeros, (long long)numbers.prunable);
    else
        fprintf(stderr, "%s\n", oneshot_error());
    oneshot_free(model);
    return status == ONESHOT_OK ? 0 : 1;
}
