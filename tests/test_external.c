/* External data: where it may lie, how it follows the model, models larger than memory. */
#include "onnx/model.h"
#include "tests/cmocka.h"
#include "tests/seeds.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void entry(Pb *tensor, const char *key, const char *value)
{
    Pb e = {0};
    pb_text(&e, 1, key);
    pb_text(&e, 2, value);
    pb_child(tensor, 13, &e);
}

/* A float tensor in a file. length NULL: not stated. */
static Pb external_tensor(const char *name, const char *dims, const char *location, int64_t offset, const char *length)
{
    Pb t = tensor_head(name, DT_F32, dims);
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)offset);
    entry(&t, "location", location);
    entry(&t, "offset", text);
    if (length) entry(&t, "length", length);
    pb_varint(&t, 14, 1);
    return t;
}

/* x + a + b, both (4): a at byte 0 of one file, b at byte 101 (so it cannot be mapped in place) of the same or another. */
static void write_model(const char *path, const char *file_a, const char *file_b)
{
    Build *b = build_new();
    Pb first = external_tensor("a", "4", file_a, 0, "16"), second = external_tensor("b", "4", file_b, 101, NULL);
    build_init_proto(b, &first);
    build_init_proto(b, &second);
    build_init(b, "c", DT_F32, "400", NULL);
    build_input(b, "x", DT_F32, "4");
    build_node(b, "Sum", "x,a,b", "y", "");
    build_output(b, "y", DT_F32, "4");
    write_bytes(path, build_finish(b, 8, 17));
}

static void write_data(const char *path)
{
    unsigned char bytes[117] = {0};
    for (int i = 0; i < 4; i++) {
        float a = (float)i, b = (float)(10 * i);
        memcpy(bytes + 4 * i, &a, 4);
        memcpy(bytes + 101 + 4 * i, &b, 4);
    }
    write_file(path, bytes, sizeof bytes);
}

static Model *load(const char *path)
{
    Model *m = NULL;
    if (model_load(path, &m)) fail_msg("%s", err_text());
    return m;
}

static Constant *initializer(const Model *m, const char *name)
{
    for (int i = 0; i < m->graph->n_value; i++)
        if (strcmp(m->graph->value[i]->name, name) == 0) return m->graph->value[i]->constant;
    fail_msg("no initializer %s", name);
    return NULL;
}

static float element(Model *m, const char *name, int i)
{
    Constant *c = initializer(m, name);
    if (constant_fetch(m, c)) fail_msg("%s", err_text());
    return ((float *)c->tensor.data)[i];
}

static void save(Model *m, const char *path, SaveOptions o)
{
    if (model_save(m, path, &o)) fail_msg("%s", err_text());
}

static void folder(const char *name)
{
    assert_true(mkdir(test_path(name), 0777) == 0);
}

static int entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' || (e->d_name[1] && e->d_name[1] != '.');
    closedir(d);
    return n;
}

static void test_fetch(void **state)
{
    (void)state;
    write_model(test_path("m.onnx"), "m.data", "m.data");
    write_data(test_path("m.data"));
    Model *m = load(test_path("m.onnx"));
    assert_true(element(m, "a", 3) == 3.0f);
    assert_true(element(m, "b", 3) == 30.0f);
    assert_int_equal(constant_release(m, initializer(m, "b")), OK);
    assert_null(initializer(m, "b")->tensor.data);
    assert_true(element(m, "b", 1) == 10.0f);
    model_free(m);
}

static void test_unedited_follows(void **state)
{
    (void)state;
    folder("copy");
    Model *m = load(test_path("m.onnx"));
    save(m, test_path("copy/n.onnx"), (SaveOptions){0});
    assert_true(files_equal(test_path("m.onnx"), test_path("copy/n.onnx")));
    assert_true(files_equal(test_path("m.data"), test_path("copy/m.data")));
    save(m, test_path("copy/n.onnx"), (SaveOptions){0});             /* the same data stands there: fine */
    write_file(test_path("copy/m.data"), "other", 5);
    SaveOptions o = {0};
    assert_int_equal(model_save(m, test_path("copy/n.onnx"), &o), ERR_ARG);
    assert_non_null(strstr(err_text(), "m.data exists"));
    save(m, test_path("copy/n.onnx"), (SaveOptions){ .force = true });
    assert_true(files_equal(test_path("m.data"), test_path("copy/m.data")));
    model_free(m);
}

static void test_folders_follow(void **state)
{
    (void)state;
    folder("sub");
    folder("elsewhere");
    write_model(test_path("s.onnx"), "sub/s.data", "sub/s.data");
    write_data(test_path("sub/s.data"));
    Model *m = load(test_path("s.onnx"));
    save(m, test_path("elsewhere/s.onnx"), (SaveOptions){0});
    model_free(m);
    assert_true(files_equal(test_path("sub/s.data"), test_path("elsewhere/sub/s.data")));
}

static void test_edited(void **state)
{
    (void)state;
    Model *m = load(test_path("m.onnx"));
    element(m, "a", 0);
    ((float *)initializer(m, "a")->tensor.data)[2] = -7.0f;
    constant_edited(initializer(m, "a"));
    save(m, test_path("e.onnx"), (SaveOptions){0});
    model_free(m);
    m = load(test_path("e.onnx"));
    assert_string_equal(initializer(m, "a")->location, "e.onnx.data");
    assert_int_equal(initializer(m, "a")->offset % 64, 0);
    assert_int_equal(initializer(m, "b")->offset % 64, 0);
    assert_int_equal(initializer(m, "c")->storage, STORED_RAW);
    assert_true(element(m, "a", 2) == -7.0f && element(m, "a", 3) == 3.0f && element(m, "b", 2) == 20.0f);
    model_free(m);
}

static void test_own_data_is_kept(void **state)
{
    (void)state;
    write_model(test_path("own.onnx"), "out.onnx.data", "out.onnx.data");
    write_data(test_path("out.onnx.data"));
    Model *m = load(test_path("own.onnx"));
    assert_int_equal(model_set_property(m, "a", "b"), OK);
    SaveOptions o = {0};
    assert_int_equal(model_save(m, test_path("out.onnx"), &o), ERR_ARG);
    assert_non_null(strstr(err_text(), "holds data of the model that was read"));
    assert_int_not_equal(access(test_path("out.onnx"), F_OK), 0);
    save(m, test_path("out.onnx"), (SaveOptions){ .force = true });
    model_free(m);
    m = load(test_path("out.onnx"));
    assert_true(element(m, "b", 3) == 30.0f);
    model_free(m);
}

static void test_convert(void **state)
{
    (void)state;
    Model *m = load(test_path("m.onnx"));
    save(m, test_path("inline.onnx"), (SaveOptions){ .data = DATA_INLINE });
    model_free(m);
    m = load(test_path("inline.onnx"));
    assert_int_equal(initializer(m, "a")->storage, STORED_RAW);
    assert_true(element(m, "a", 3) == 3.0f && element(m, "b", 3) == 30.0f);
    save(m, test_path("outside.onnx"), (SaveOptions){ .data = DATA_EXTERNAL });
    model_free(m);
    m = load(test_path("outside.onnx"));
    assert_int_equal(initializer(m, "a")->storage, STORED_RAW);       /* below 1 KiB */
    assert_int_equal(initializer(m, "c")->storage, STORED_EXTERNAL);
    assert_true(element(m, "c", 399) == 400.0f);
    model_free(m);
}

static void refused(const char *location, Err code, const char *message)
{
    Model *m;
    write_model(test_path("refused.onnx"), location, location);
    assert_int_equal(model_load(test_path("refused.onnx"), &m), code);
    if (!strstr(err_text(), message)) fail_msg("'%s' is not in: %s", message, err_text());
}

static void test_refused(void **state)
{
    (void)state;
    refused("/etc/passwd", ERR_FORMAT, "'/etc/passwd' is an absolute path");
    refused("../m.data", ERR_FORMAT, "leaves the model's folder by '..'");
    refused("sub/../../m.data", ERR_FORMAT, "leaves the model's folder by '..'");
    refused("", ERR_FORMAT, "names no file");
    refused("absent.data", ERR_IO, "absent.data': No such file");
    refused("sub", ERR_FORMAT, "'sub' is not a regular file");
    assert_true(symlink("/etc/passwd", test_path("link.data")) == 0);
    refused("link.data", ERR_FORMAT, "'link.data' is a link that leaves the model's folder");
    assert_true(mkfifo(test_path("fifo.data"), 0666) == 0);
    refused("fifo.data", ERR_FORMAT, "is not a regular file");
    write_file(test_path("short.data"), "0123456789abcdefghij", 20);
    refused("short.data", ERR_FORMAT, "has 20 bytes, but the tensor needs 16 bytes from 101 on");
    assert_true(symlink("m.data", test_path("inner.data")) == 0);
    write_model(test_path("inner.onnx"), "inner.data", "inner.data");
    Model *m = load(test_path("inner.onnx"));
    assert_true(element(m, "a", 1) == 1.0f);
    model_free(m);
}

static void test_truncated_later(void **state)
{
    (void)state;
    write_model(test_path("t.onnx"), "t.data", "t.data");
    write_data(test_path("t.data"));
    Model *m = load(test_path("t.onnx"));
    assert_true(truncate(test_path("t.data"), 50) == 0);
    assert_int_equal(constant_fetch(m, initializer(m, "b")), ERR_FORMAT);
    assert_int_equal(model_set_property(m, "a", "b"), OK);
    SaveOptions o = {0};
    assert_int_not_equal(model_save(m, test_path("t2.onnx"), &o), OK);
    assert_int_not_equal(access(test_path("t2.onnx"), F_OK), 0);
    assert_int_not_equal(access(test_path("t2.onnx.data"), F_OK), 0);
    model_free(m);
}

/* The big model: 6 tensors of 1 GiB in a file of holes. */
enum { BIG = 6 };
#define GIB (INT64_C(1) << 30)
#define RSS_LIMIT_KIB ((1024 + 64) * 1024)         /* the largest tensor and a constant */

static void write_big(void)
{
    Build *b = build_new();
    for (int i = 0; i < BIG; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        Pb t = external_tensor(name, "32768,8192", "big.data", i * GIB, "1073741824");
        build_init_proto(b, &t);
    }
    build_input(b, "x", DT_F32, "1,32768");
    build_node(b, "MatMul", "x,w0", "y", "");
    build_output(b, "y", DT_F32, "1,8192");
    write_bytes(test_path("big.onnx"), build_finish(b, 8, 17));
    int fd = open(test_path("big.data"), O_RDWR | O_CREAT, 0666);
    assert_true(fd >= 0 && ftruncate(fd, BIG * GIB) == 0);
    for (int i = 0; i < BIG; i++) assert_true(pwrite(fd, &(float){ 1.0f + (float)i }, 4, (i + 1) * GIB - 4) == 4);
    close(fd);
}

static Err edit_big(Constant *c, void *user)
{
    Model *m = user;
    TRY(constant_fetch(m, c));
    float *w = c->tensor.data;
    w[0] = 2.0f * w[c->tensor.bytes / sizeof *w - 1];
    constant_edited(c);
    return constant_release(m, c);
}

static Err edit_and_save(const char *input, const char *output)
{
    Model *m;
    TRY(model_load(input, &m));
    Err err = model_store(m, output);
    if (!err) err = model_each_constant(m, edit_big, m);
    if (!err) err = model_save(m, output, &(SaveOptions){0});
    model_free(m);
    return err;
}

/* In a child of its own, so that the peak is that of the job. Exit status: 0 done, 1 error, 2 too much memory. */
static int in_child(const char *input, const char *output)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        Err err = edit_and_save(input, output);
        getrusage(RUSAGE_SELF, &after);
        fprintf(stderr, "peak resident memory: %ld MiB\n", after.ru_maxrss / 1024);
        if (err) fprintf(stderr, "%s\n", err_text());
        _exit(err ? 1 : after.ru_maxrss - before.ru_maxrss > RSS_LIMIT_KIB ? 2 : 0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_larger_than_memory(void **state)
{
    (void)state;
    const char *wrap = getenv("TEST_WRAP"), *sanitizer = getenv("SANITIZE");
    if ((wrap && *wrap) || (sanitizer && strstr(sanitizer, "thread"))) {
        print_message("skipped: 6 GB take too long, or much memory, under %s\n", wrap && *wrap ? wrap : sanitizer);
        skip();
    }
    write_big();
    assert_int_equal(in_child(test_path("big.onnx"), test_path("pruned.onnx")), 0);
    struct stat st;
    assert_int_equal(stat(test_path("pruned.onnx.data"), &st), 0);
    assert_int_equal(st.st_size, BIG * GIB);
    assert_true(st.st_blocks * 512 < GIB);             /* zeros stayed holes */
    Model *m = load(test_path("pruned.onnx"));
    for (int i = 0; i < BIG; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        Constant *c = initializer(m, name);
        assert_true(element(m, name, 0) == 2.0f + 2.0f * (float)i);
        assert_true(element(m, name, (int)(GIB / 4 - 1)) == 1.0f + (float)i);
        assert_int_equal(constant_release(m, c), OK);
    }
    model_free(m);
    unlink(test_path("big.data"));
    unlink(test_path("pruned.onnx.data"));
}

/* A field of bytes that are to follow. */
static void head_of(Pb *p, uint32_t field, uint64_t size)
{
    size_t tag = p->size;
    pb_varint(p, field, size);
    p->at[tag] |= 2;
}

/* A model of one file with a tensor of 2 GiB, a hole. */
static void write_wide(const char *path)
{
    const uint64_t size = 2 * (uint64_t)GIB;
    Pb file = {0}, graph = {0}, tensor = tensor_head("w", DT_I8, "2147483648"), heads = {0}, opset = {0};
    head_of(&tensor, 9, size);
    head_of(&heads, 5, tensor.size + size);
    pb_text(&graph, 2, "g");
    pb_raw(&graph, heads.at, heads.size);
    pb_raw(&graph, tensor.at, tensor.size);
    pb_varint(&file, 1, 8);
    pb_varint(&opset, 2, 17);
    pb_child(&file, 8, &opset);
    head_of(&file, 7, graph.size + size);
    pb_raw(&file, graph.at, graph.size);
    write_file(path, file.at, file.size);
    assert_true(truncate(path, (off_t)(file.size + size)) == 0);
    pb_free(&heads);
    pb_free(&tensor);
    pb_free(&graph);
    pb_free(&file);
}

/* What must leave the file is known to need a data file before the work. */
static void test_too_large_for_one_file(void **state)
{
    (void)state;
    const SaveOptions as_is = {0}, in_one = { .data = DATA_INLINE };
    write_wide(test_path("wide.onnx"));
    Model *m = load(test_path("wide.onnx"));
    assert_int_equal(initializer(m, "w")->storage, STORED_RAW);
    assert_int_equal(model_save_check(m, test_path("w.onnx"), &as_is), OK);
    assert_true(mkdir(test_path("w.onnx.data"), 0777) == 0);
    assert_int_equal(model_save_check(m, test_path("w.onnx"), &as_is), ERR_IO);
    assert_non_null(strstr(err_text(), "w.onnx.data: it is a folder"));
    assert_int_equal(model_save_check(m, test_path("w.onnx"), &in_one), OK);
    model_free(m);
    m = load(test_path("inner.onnx"));                 /* a small one, its external data brought in */
    assert_int_equal(model_save_check(m, test_path("w.onnx"), &in_one), OK);
    model_free(m);
    unlink(test_path("wide.onnx"));
}

/* A store that is not used for the output after all, fetched again, used twice. */
static void test_store(void **state)
{
    (void)state;
    Model *m = load(test_path("m.onnx"));
    Constant *a = initializer(m, "a");
    assert_int_equal(model_store(m, test_path("stored.onnx")), OK);
    for (int round = 1; round <= 2; round++) {
        element(m, "a", 0);
        ((float *)a->tensor.data)[0] += 5.0f;
        constant_edited(a);
        assert_int_equal(constant_release(m, a), OK);
        assert_null(a->tensor.data);
    }
    assert_true(element(m, "a", 0) == 10.0f);
    assert_int_equal(constant_release(m, a), OK);
    save(m, test_path("another.onnx"), (SaveOptions){0});
    save(m, test_path("stored.onnx"), (SaveOptions){0});
    save(m, test_path("third.onnx"), (SaveOptions){0});
    model_free(m);
    const char *names[] = { "another.onnx", "stored.onnx", "third.onnx" };
    for (int i = 0; i < 3; i++) {
        m = load(test_path(names[i]));
        assert_true(element(m, "a", 0) == 10.0f && element(m, "a", 3) == 3.0f && element(m, "b", 3) == 30.0f);
        model_free(m);
    }
}

/* The process dies instead of giving, taking or removing the n-th name. These stand before the C library's. */
static int names_left = -1;

static void count_name(void)
{
    if (names_left >= 0 && names_left-- == 0) _exit(9);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    count_name();
    return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int rename(const char *from, const char *to)
{
    count_name();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    count_name();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* The weights of m.onnx with 100 added. */
static Model *load_changed(void)
{
    Model *m = load(test_path("m.onnx"));
    element(m, "a", 0);
    element(m, "b", 0);
    for (int i = 0; i < 4; i++) {
        ((float *)initializer(m, "a")->tensor.data)[i] += 100.0f;
        ((float *)initializer(m, "b")->tensor.data)[i] += 100.0f;
    }
    constant_edited(initializer(m, "a"));
    constant_edited(initializer(m, "b"));
    return m;
}

static void save_old(const char *path)
{
    Model *m = load(test_path("m.onnx"));
    assert_int_equal(model_set_property(m, "is", "old"), OK);
    save(m, path, (SaveOptions){0});
    model_free(m);
}

/* What a process that dies at the n-th name leaves at `path`: the model that stands there has its own data, both old or both new. True: it did not die. */
static bool dies_well(const char *path, int n, void (*work)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        names_left = n;
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    assert_true(ended || WEXITSTATUS(status) == 9);
    Model *m = load(path);
    float change = m->n_property ? 0.0f : 100.0f;
    for (int i = 0; i < 4; i++) assert_true(element(m, "a", i) == (float)i + change && element(m, "b", i) == 10.0f * (float)i + change);
    assert_true(!ended || change == 100.0f);
    if (ended) assert_in_range(n, 6, 20);
    model_free(m);
    return ended;
}

static void save_over(void)
{
    Model *m = load_changed();
    save(m, test_path("over.onnx"), (SaveOptions){0});
    model_free(m);
}

static void test_killed_between(void **state)
{
    (void)state;
    bool ended = false;
    for (int n = 0; !ended; n++) {
        save_old(test_path("over.onnx"));
        ended = dies_well(test_path("over.onnx"), n, save_over);
    }
    Model *m = load(test_path("over.onnx"));
    assert_string_equal(initializer(m, "a")->location, "over.onnx.data");
    model_free(m);
}

/* The same for a model that is copied with the data that it has: over another model of the same name, whose data it replaces. */
static void copy_over(void)
{
    Model *m = load(test_path("new/x.onnx"));
    save(m, test_path("there/x.onnx"), (SaveOptions){ .force = true });
    model_free(m);
}

static void test_killed_between_copies(void **state)
{
    (void)state;
    folder("new");
    folder("there");
    Model *m = load_changed();
    save(m, test_path("new/x.onnx"), (SaveOptions){0});
    model_free(m);
    bool ended = false;
    for (int n = 0; !ended; n++) {
        save_old(test_path("there/x.onnx"));
        ended = dies_well(test_path("there/x.onnx"), n, copy_over);
    }
    assert_true(files_equal(test_path("new/x.onnx"), test_path("there/x.onnx")));
    assert_true(files_equal(test_path("new/x.onnx.data"), test_path("there/x.onnx.data")));
}

/* Two data files, one of them in a folder of its own; what stands there is read by no model. */
static void test_two_files_replaced(void **state)
{
    (void)state;
    folder("two");
    folder("two/sub");
    folder("target");
    folder("target/sub");
    write_model(test_path("two/x.onnx"), "one.data", "sub/two.data");
    write_model(test_path("target/x.onnx"), "one.data", "sub/two.data");
    write_data(test_path("two/one.data"));
    write_data(test_path("two/sub/two.data"));
    write_file(test_path("target/one.data"), "other", 5);
    write_file(test_path("target/sub/two.data"), "another", 7);
    Model *m = load(test_path("two/x.onnx"));
    save(m, test_path("target/x.onnx"), (SaveOptions){ .force = true });
    model_free(m);
    assert_true(files_equal(test_path("two/x.onnx"), test_path("target/x.onnx")));
    assert_true(files_equal(test_path("two/one.data"), test_path("target/one.data")));
    assert_true(files_equal(test_path("two/sub/two.data"), test_path("target/sub/two.data")));
    assert_int_equal(entries(test_path("target")), 3);
    assert_int_equal(entries(test_path("target/sub")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch),    cmocka_unit_test(test_unedited_follows), cmocka_unit_test(test_folders_follow),
        cmocka_unit_test(test_edited),   cmocka_unit_test(test_own_data_is_kept), cmocka_unit_test(test_convert),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_truncated_later),  cmocka_unit_test(test_store),
        cmocka_unit_test(test_killed_between),
        cmocka_unit_test(test_killed_between_copies),                             cmocka_unit_test(test_two_files_replaced),
        cmocka_unit_test(test_larger_than_memory),                                cmocka_unit_test(test_too_large_for_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
