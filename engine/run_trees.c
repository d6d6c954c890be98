/* Ensembles of decision trees.     https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
 * Both ways to write them, one node per entry with leaves among them (TreeEnsembleClassifier, TreeEnsembleRegressor) and splits with leaves apart (TreeEnsemble), become
 * the same table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "engine/element.h"
#include "engine/ml.h"
#include "engine/run_ops.h"

typedef enum Test { TEST_LEQ, TEST_LT, TEST_GTE, TEST_GT, TEST_EQ, TEST_NEQ, TEST_MEMBER, TEST_LEAF } Test;

typedef struct TreeNode {
    Test    test;
    int64_t feature, yes, no;          /* numbers of nodes */
    bool    missing_yes;               /* NaN goes to yes */
    double  value;
    const double *member; int64_t n_member;
    int64_t first, n_leaf;             /* of a leaf: its entries in target and weight */
} TreeNode;

typedef enum Aggregate { SUM, AVERAGE, MIN, MAX } Aggregate;

typedef struct Trees {
    int64_t rows, columns, targets, n_node, n_root, n_leaf;
    TreeNode *node;
    int64_t *root, *target;
    double *weight, *base;
    int n_base;
    Aggregate aggregate;
    /* one_class: two classes, but leaves for one of them only: the second if `second`; positive: no weight is negative */
    bool classifier, one_class, second, positive;
    MlLabels labels;
} Trees;

/* Attributes as numbers: float lists, or tensors (name_as_tensor, or since version 5 under the name itself). */
static Err reals(Plan *plan, const Node *n, const char *name, double **out, int64_t *count)
{
    char tensor_name[128];
    const Attr *a = node_attr(n, name);
    if (!a) {
        size_t length = strlen(name);
        memcpy(tensor_name, name, length);
        memcpy(tensor_name + length, "_as_tensor", 11);
        a = node_attr(n, tensor_name);
    }
    *count = 0;
    if (!a) return OK;
    if (a->kind == ATTR_FS) {
        TRY(plan_array(plan, a->n + 1, sizeof **out, out));
        for (int i = 0; i < a->n; i++) (*out)[i] = (double)a->fs[i];
        *count = a->n;
        return OK;
    }
    if (a->kind != ATTR_T || !dtype_is_real(a->t->tensor.dtype)) return err_set(ERR_FORMAT, "The attribute %s of %s holds no numbers.", name, n->op_type);
    TRY(constant_fetch(plan->model, a->t));
    TRY(shape_count(&a->t->tensor.shape, count));
    TRY(plan_array(plan, *count + 1, sizeof **out, out));
    elements_to_f64(a->t->tensor.dtype, a->t->tensor.data, 0, *count, *out);
    return OK;
}

static Err ints(const Node *n, const char *name, int64_t count, const int64_t **v)
{
    return attr_is(n, name, v) == count ? OK : err_set(ERR_FORMAT, "The attribute %s of %s should have %lld numbers.", name, n->op_type, (long long)count);
}

/* Nodes by tree and number ---------------------------------------------------------------------------------------------------------------- */

typedef struct Name { int64_t tree, id, at; } Name;

static int by_name(const void *a, const void *b)
{
    const Name *x = a, *y = b;
    return x->tree != y->tree ? (x->tree < y->tree ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static int64_t named(const Name *list, int64_t n, int64_t tree, int64_t id)
{
    const Name *found = n ? bsearch(&(Name){ .tree = tree, .id = id }, list, (size_t)n, sizeof *list, by_name) : NULL;
    return found ? found->at : -1;
}

static Err test_of(const Span *s, Test *t)
{
    static const char *const NAME[] = { "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "", "LEAF" };
    for (int i = 0; i < 8; i++)
        if (i != TEST_MEMBER && s->size == strlen(NAME[i]) && !memcmp(s->at, NAME[i], s->size)) { *t = (Test)i; return OK; }
    return err_set(ERR_FORMAT, "A tree has a node of the kind '%.*s'.", (int)(s->size < 40 ? s->size : 40), (const char *)s->at);
}

/* Leaves' weights, ordered by leaf. */
static Err classic_leaves(Plan *plan, const Step *s, Trees *t, const Name *name, const char *const attr[4])
{
    const int64_t *tree, *id, *target;
    double *weight;
    int64_t n, at = 0;
    TRY(reals(plan, s->node, attr[3], &weight, &n));
    TRY(ints(s->node, attr[0], n, &tree));
    TRY(ints(s->node, attr[1], n, &id));
    TRY(ints(s->node, attr[2], n, &target));
    TRY(plan_array(plan, n + 1, sizeof *t->target, &t->target));
    TRY(plan_array(plan, n + 1, sizeof *t->weight, &t->weight));
    for (int64_t i = 0; i < n; i++) {
        int64_t k = named(name, t->n_node, tree[i], id[i]);
        if (k < 0 || target[i] < 0 || target[i] >= t->targets) return err_set(ERR_FORMAT, "A weight of a tree belongs to no leaf or to no target.");
        t->node[k].n_leaf++;
    }
    for (int64_t k = 0; k < t->n_node; k++) { t->node[k].first = at; at += t->node[k].n_leaf; t->node[k].n_leaf = 0; }
    for (int64_t i = 0; i < n; i++) {
        TreeNode *leaf = &t->node[named(name, t->n_node, tree[i], id[i])];
        t->target[leaf->first + leaf->n_leaf] = target[i];
        t->weight[leaf->first + leaf->n_leaf++] = weight[i];
    }
    t->n_leaf = n;
    return OK;
}

static Err classic_nodes(Plan *plan, const Step *s, Trees *t, Name *name)
{
    const Node *n = s->node;
    const int64_t *tree, *id, *feature, *yes, *no, *missing;
    const Span *mode;
    double *value;
    int64_t n_value;
    bool *child;
    TRY(reals(plan, n, "nodes_values", &value, &n_value));
    if (n_value != t->n_node || ml_strings(n, "nodes_modes", &mode) != t->n_node) return err_set(ERR_FORMAT, "The attributes of a tree have different lengths.");
    TRY(ints(n, "nodes_treeids", t->n_node, &tree));
    TRY(ints(n, "nodes_nodeids", t->n_node, &id));
    TRY(ints(n, "nodes_featureids", t->n_node, &feature));
    TRY(ints(n, "nodes_truenodeids", t->n_node, &yes));
    TRY(ints(n, "nodes_falsenodeids", t->n_node, &no));
    bool has_missing = attr_is(n, "nodes_missing_value_tracks_true", &missing) == t->n_node;
    TRY(plan_array(plan, t->n_node + 1, sizeof *child, &child));
    for (int64_t i = 0; i < t->n_node; i++) name[i] = (Name){ tree[i], id[i], i };
    qsort(name, (size_t)t->n_node, sizeof *name, by_name);
    for (int64_t i = 0; i < t->n_node; i++) {
        TreeNode *k = &t->node[i];
        *k = (TreeNode){ .feature = feature[i], .value = value[i], .missing_yes = has_missing && missing[i] };
        TRY(test_of(&mode[i], &k->test));
        if (k->test == TEST_LEAF) continue;
        k->yes = named(name, t->n_node, tree[i], yes[i]);
        k->no = named(name, t->n_node, tree[i], no[i]);
        if (k->yes < 0 || k->no < 0) return err_set(ERR_FORMAT, "A node of a tree leads to one that is not there.");
        child[k->yes] = child[k->no] = true;
    }
    for (int64_t i = 0; i < t->n_node; i++) if (!child[i]) t->root[t->n_root++] = i;
    return OK;
}

static Err classic(Plan *plan, Step *s, Trees *t)
{
    static const char *const CLASS[] = { "class_treeids", "class_nodeids", "class_ids", "class_weights" };
    static const char *const TARGET[] = { "target_treeids", "target_nodeids", "target_ids", "target_weights" };
    const int64_t *tree;
    Name *name;
    int64_t n_base;
    t->n_node = attr_is(s->node, "nodes_treeids", &tree);
    if (t->classifier) TRY(ml_labels(s->node, &t->labels));
    t->targets = t->classifier ? t->labels.n : attr_i(s->node, "n_targets", 1);
    TRY(plan_array(plan, t->n_node + 1, sizeof *t->node, &t->node));
    TRY(plan_array(plan, t->n_node + 1, sizeof *t->root, &t->root));
    TRY(plan_array(plan, t->n_node + 1, sizeof *name, &name));
    TRY(classic_nodes(plan, s, t, name));
    TRY(classic_leaves(plan, s, t, name, t->classifier ? CLASS : TARGET));
    TRY(reals(plan, s->node, "base_values", &t->base, &n_base));
    t->n_base = (int)n_base;
    if (attr_s_is(s->node, "aggregate_function", "AVERAGE", false)) t->aggregate = AVERAGE;
    if (attr_s_is(s->node, "aggregate_function", "MIN", false)) t->aggregate = MIN;
    if (attr_s_is(s->node, "aggregate_function", "MAX", false)) t->aggregate = MAX;
    bool used[2] = { false, false };
    t->positive = true;
    for (int64_t i = 0; i < t->n_leaf; i++) {
        if (t->target[i] < 2) used[t->target[i]] = true;
        if (t->weight[i] < 0) t->positive = false;
    }
    t->one_class = t->classifier && t->targets == 2 && used[0] != used[1];
    t->second = used[1];
    if (t->one_class && t->second && t->n_base) return err_set(ERR_UNSUPPORTED, "%s of two classes with base values for one cannot be run.", s->op->type);
    if (t->n_base && t->n_base != t->targets && !(t->one_class && t->n_base == 1)) return err_set(ERR_FORMAT, "A tree ensemble has %d base values.", t->n_base);
    return OK;
}

/* Splits and leaves apart: leaf i becomes node number splits + i. ----------------------------------------------------------------------------- */

/* Sets of membership_values end with NaN; each MEMBER split takes the next. */
static Err take_members(TreeNode *k, double **member, int64_t *left)
{
    k->member = *member;
    while (k->n_member < *left && !isnan((*member)[k->n_member])) k->n_member++;
    if (k->n_member == *left) return err_set(ERR_FORMAT, "membership_values has too few sets.");
    *member += k->n_member + 1;
    *left -= k->n_member + 1;
    return OK;
}

static Err modern_splits(Plan *plan, const Step *s, Trees *t, int64_t splits)
{
    const Node *n = s->node;
    const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *missing;
    double *value, *mode, *member;
    int64_t n_value, n_mode, n_member;
    TRY(reals(plan, n, "nodes_splits", &value, &n_value));
    TRY(reals(plan, n, "nodes_modes", &mode, &n_mode));
    TRY(reals(plan, n, "membership_values", &member, &n_member));
    if (n_value != splits || n_mode != splits) return err_set(ERR_FORMAT, "The attributes of a tree have different lengths.");
    TRY(ints(n, "nodes_featureids", splits, &feature));
    TRY(ints(n, "nodes_truenodeids", splits, &yes));
    TRY(ints(n, "nodes_falsenodeids", splits, &no));
    TRY(ints(n, "nodes_trueleafs", splits, &yes_leaf));
    TRY(ints(n, "nodes_falseleafs", splits, &no_leaf));
    bool has_missing = attr_is(n, "nodes_missing_value_tracks_true", &missing) == splits;
    for (int64_t i = 0; i < splits; i++) {
        TreeNode *k = &t->node[i];
        if (!(mode[i] >= 0 && mode[i] <= TEST_MEMBER)) return err_set(ERR_FORMAT, "A tree has a node of kind %g.", mode[i]);
        *k = (TreeNode){ .test = (Test)mode[i], .feature = feature[i], .value = value[i], .missing_yes = has_missing && missing[i] };
        if (k->test == TEST_MEMBER) TRY(take_members(k, &member, &n_member));
        int64_t limit[2] = { yes_leaf[i] ? t->n_leaf : splits, no_leaf[i] ? t->n_leaf : splits };
        if (yes[i] < 0 || yes[i] >= limit[0] || no[i] < 0 || no[i] >= limit[1]) return err_set(ERR_FORMAT, "A node of a tree leads to one that is not there.");
        k->yes = yes[i] + (yes_leaf[i] ? splits : 0);
        k->no = no[i] + (no_leaf[i] ? splits : 0);
    }
    return OK;
}

static Err modern(Plan *plan, Step *s, Trees *t)
{
    static const Aggregate AGGREGATE[] = { AVERAGE, SUM, MIN, MAX };
    const int64_t *target, *root, *feature;
    int64_t aggregate = attr_i(s->node, "aggregate_function", 1), splits = attr_is(s->node, "nodes_featureids", &feature);
    TRY(reals(plan, s->node, "leaf_weights", &t->weight, &t->n_leaf));
    TRY(ints(s->node, "leaf_targetids", t->n_leaf, &target));
    t->targets = attr_i(s->node, "n_targets", 1);
    t->n_node = splits + t->n_leaf;
    t->n_root = attr_is(s->node, "tree_roots", &root);
    if (aggregate < 0 || aggregate > 3) return err_set(ERR_FORMAT, "aggregate_function is %lld.", (long long)aggregate);
    t->aggregate = AGGREGATE[aggregate];
    TRY(plan_array(plan, t->n_node + 1, sizeof *t->node, &t->node));
    TRY(plan_array(plan, t->n_root + 1, sizeof *t->root, &t->root));
    TRY(plan_array(plan, t->n_leaf + 1, sizeof *t->target, &t->target));
    TRY(modern_splits(plan, s, t, splits));
    for (int64_t i = 0; i < t->n_leaf; i++) {
        t->node[splits + i] = (TreeNode){ .test = TEST_LEAF, .first = i, .n_leaf = 1 };
        t->target[i] = target[i];
        if (target[i] < 0 || target[i] >= t->targets) return err_set(ERR_FORMAT, "A leaf of a tree belongs to no target.");
    }
    for (int64_t i = 0; i < t->n_root; i++) {
        t->root[i] = root[i];
        if (root[i] < 0 || root[i] >= splits) return err_set(ERR_FORMAT, "A root of a tree is not there.");
    }
    return OK;
}

/* Running ------------------------------------------------------------------------------------------------------------------------------------- */

static bool passes(const TreeNode *k, double v)
{
    switch (k->test) {
    case TEST_LEQ: return v <= k->value;
    case TEST_LT: return v < k->value;
    case TEST_GTE: return v >= k->value;
    case TEST_GT: return v > k->value;
    case TEST_EQ: return v == k->value;
    case TEST_NEQ: return v != k->value;
    default: break;
    }
    for (int64_t i = 0; i < k->n_member; i++) if (k->member[i] == v) return true;
    return false;
}

/* A cycle in the file's tree would never end: more steps than nodes are none of a tree. */
static Err leaf_of(const Trees *t, int64_t root, const double *x, const TreeNode **out)
{
    const TreeNode *k = &t->node[root];
    for (int64_t i = 0; k->test != TEST_LEAF; i++) {
        if (i > t->n_node) return err_set(ERR_FORMAT, "The nodes of a tree form a circle.");
        double v = x[k->feature];
        k = &t->node[passes(k, v) || (k->missing_yes && v != v) ? k->yes : k->no];
    }
    *out = k;
    return OK;
}

static void add_weight(const Trees *t, double *score, bool *has, double w)
{
    if (!*has) *score = t->aggregate == MIN || t->aggregate == MAX ? w : *score + w;
    else if (t->aggregate == MIN) *score = w < *score ? w : *score;
    else if (t->aggregate == MAX) *score = w > *score ? w : *score;
    else *score += w;
    *has = true;
}

static Err score_row(const Trees *t, const double *x, double *score, bool *has)
{
    for (int64_t i = 0; i < t->targets; i++) { score[i] = 0; has[i] = false; }
    for (int64_t r = 0; r < t->n_root; r++) {
        const TreeNode *k = NULL;
        TRY(leaf_of(t, t->root[r], x, &k));
        for (int64_t i = k->first; i < k->first + k->n_leaf; i++) add_weight(t, &score[t->target[i]], &has[t->target[i]], t->weight[i]);
    }
    for (int64_t i = 0; i < t->targets; i++) {
        if (t->aggregate == AVERAGE) score[i] /= (double)t->n_root;
        if (t->n_base == t->targets && !t->one_class) score[i] += t->base[i];
    }
    return OK;
}

/* Two classes and leaves for one of them, as ONNX Runtime reads them: probabilities of the second class if no weight is negative, else scores around 0. What leaves of
 * the first class give stands for both classes; what those of the second give is its score alone. */
static int64_t classify_one(const Step *s, const Trees *t, const double *score, float *y)
{
    double v = score[t->second] + (t->n_base ? t->base[t->n_base - 1] : 0);
    y[0] = t->second ? 0 : (float)v;
    y[1] = (float)v;
    if (t->second) ml_transform(s->node, y, 2);
    else ml_two_scores(s->node, y, t->positive);
    return v > (t->positive ? 0.5 : 0);
}

static void put_row(const Step *s, const Trees *t, int64_t row, const double *score, float *f)
{
    if (t->one_class) ml_put_label(&t->labels, s->out[0], row, classify_one(s, t, score, f));
    else {
        int64_t best = 0;
        for (int64_t i = 0; i < t->targets; i++) {
            if (score[i] > score[best]) best = i;
            f[i] = (float)score[i];
        }
        ml_transform(s->node, f, t->targets);
        if (t->classifier) ml_put_label(&t->labels, s->out[0], row, best);
    }
    Buffer *y = t->classifier ? s->out[1] : s->out[0];
    if (y->dtype == DT_F32) memcpy((float *)y->data + row * t->targets, f, (size_t)t->targets * sizeof *f);
    else elements_from_f64(y->dtype, score, t->targets, y->data, row * t->targets);
}

static Err trees_run(Plan *plan, Step *s)
{
    const Trees *t = s->state;
    double *x = (double *)s->scratch, *score = x + t->columns;
    float *f = (float *)(score + t->targets);
    bool *has = (bool *)(f + t->targets + 2);
    (void)plan;
    for (int64_t row = 0; row < t->rows; row++) {
        elements_to_f64(s->in[0]->dtype, s->in[0]->data, row * t->columns, t->columns, x);
        TRY(score_row(t, x, score, has));
        put_row(s, t, row, score, f);
    }
    return OK;
}

/* Version 5 names the transformations by numbers; only its NONE is run. */
Err trees_prep(Plan *plan, Step *s)
{
    Trees *t;
    bool is_modern = !strcmp(s->op->type, "TreeEnsemble");
    TRY(plan_array(plan, 1, sizeof *t, &t));
    TRY(ml_matrix(s, &t->rows, &t->columns));
    t->classifier = !strcmp(s->op->type, "TreeEnsembleClassifier");
    TRY(is_modern ? modern(plan, s, t) : classic(plan, s, t));
    if (is_modern && attr_i(s->node, "post_transform", 0)) return err_set(ERR_UNSUPPORTED, "TreeEnsemble with a post_transform cannot be run.");
    for (int64_t i = 0; i < t->n_node; i++)
        if (t->node[i].test != TEST_LEAF && (t->node[i].feature < 0 || t->node[i].feature >= t->columns))
            return err_set(ERR_SHAPE, "A tree asks for column %lld of %lld.", (long long)t->node[i].feature, (long long)t->columns);
    s->scratch_bytes = (size_t)(t->columns + t->targets) * sizeof(double) + (size_t)(t->targets + 2) * (sizeof(float) + sizeof(bool));
    s->state = t;
    s->run = trees_run;
    return OK;
}
