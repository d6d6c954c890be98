/* Reports: names that strangers chose, numbers for people, JSON, tables that fit. */
#include "recipes/report_layers.h"
#include "tests/cmocka.h"
#include <math.h>
#include <string.h>

static Arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void names_are_harmless(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "layer1.0.conv1.weight", "layer1.0.conv1.weight" },
        { "gr\xc3\xb6\xc3\x9f" "e", "gr\xc3\xb6\xc3\x9f" "e" },
        { "\xe5\xb1\x82", "\xe5\xb1\x82" },
        { "a\033[31mb", "a\\x1b[31mb" },
        { "a\nb\tc\rd", "a\\nb\\tc\\x0dd" },
        { "\x7f", "\\x7f" },
        { "\xff\xfe", "\\xff\\xfe" },
        { "\xc0\xaf", "\\xc0\\xaf" },                          /* overlong */
        { "\xed\xa0\x80", "\\xed\\xa0\\x80" },                 /* a surrogate */
        { "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80" },        /* beyond Unicode */
        { "\xe5\xb1", "\\xe5\\xb1" },                          /* cut off */
        { "\xe2\x80\xae" "txt.exe", "\\u202etxt.exe" },        /* right-to-left override */
        { "\xc2\x9b" "31m", "\\u009b31m" },                    /* CSI as one character */
        { "C:\\models", "C:\\models" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_string_equal(name_shown(arena, cases[i][0]), cases[i][1]);
    assert_string_equal(name_shown(arena, NULL), "");
}

static void long_names_lose_their_middle(void **state)
{
    (void)state;
    assert_string_equal(name_shortened(arena, "encoder.layer.11.output.dense", 12), "encod..dense");
    assert_string_equal(name_shortened(arena, "short", 12), "short");
    assert_string_equal(name_shortened(arena, "exactly12col", 12), "exactly12col");
    assert_string_equal(name_shortened(arena, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc", 5), "\xc3\xa4..\xc3\xb6\xc3\xbc");
    assert_int_equal(text_columns("\xc3\xa4\xc3\xb6"), 2);
}

static void numbers_are_short(void **state)
{
    (void)state;
    assert_string_equal(count_short(0).at, "0");
    assert_string_equal(count_short(9999).at, "9999");
    assert_string_equal(count_short(10000).at, "10.0 k");
    assert_string_equal(count_short(25530472).at, "25.5 M");
    assert_string_equal(count_short(999950).at, "1.00 M");
    assert_string_equal(count_short(4089184256).at, "4.09 G");
    assert_string_equal(count_short(INT64_MAX).at, "9.22 E");
    assert_string_equal(bytes_short(698).at, "698 B");
    assert_string_equal(bytes_short(102483010).at, "97.7 MiB");
    assert_string_equal(bytes_short(1 << 20).at, "1.00 MiB");
    assert_string_equal(bytes_short(INT64_MAX).at, "8192 PiB");
    assert_string_equal(share_short(0.8).at, "80.0 %");
    assert_string_equal(share_short(0).at, "0.0 %");
    assert_string_equal(share_short(1).at, "100.0 %");
    assert_string_equal(share_short(1e-6).at, "<0.1 %");
    assert_string_equal(share_short(0.99999).at, ">99.9 %");
    assert_string_equal(seconds_short(0.0123).at, "12.3 ms");
    assert_string_equal(seconds_short(0.5).at, "500 ms");
    assert_string_equal(seconds_short(1.239).at, "1.24 s");
    assert_string_equal(seconds_short(200).at, "3 min 20 s");
}

static void json_is_valid(void **state)
{
    (void)state;
    Text t = { .arena = arena };
    Json j = { .out = &t };
    json_object(&j, NULL);
    json_string(&j, "text", "a\"b\\c\nd\001\x7f\xc3\xa4\xff\xe2\x80\xae\xc2\x9b");
    json_string(&j, "none", NULL);
    json_int(&j, "int", INT64_MIN);
    json_number(&j, "tenth", 0.1);
    json_number(&j, "third", 1.0 / 3);
    json_number(&j, "nan", NAN);
    json_bool(&j, "yes", true);
    json_array(&j, "empty");
    json_end(&j);
    json_array(&j, "rows");
    json_line(&j, NULL);
    json_int(&j, "a", 1);
    json_shape(&j, "shape", &(Shape){ 2, { 3, 4 } }, NULL);
    json_end(&j);
    json_line(&j, NULL);
    json_end(&j);
    json_end(&j);
    json_object(&j, "metadata");
    json_pair(&j, "a \"key\"", "v");
    json_end(&j);
    json_end(&j);
    assert_string_equal(text_done(&t),
                        "{\n"
                        "  \"text\": \"a\\\"b\\\\c\\nd\\u0001\\u007f\xc3\xa4\\ufffd\\u202e\\u009b\",\n"
                        "  \"none\": null,\n"
                        "  \"int\": -9223372036854775808,\n"
                        "  \"tenth\": 0.1,\n"
                        "  \"third\": 0.3333333333333333,\n"
                        "  \"nan\": null,\n"
                        "  \"yes\": true,\n"
                        "  \"empty\": [],\n"
                        "  \"rows\": [\n"
                        "    {\"a\": 1, \"shape\": [3, 4]},\n"
                        "    {}\n"
                        "  ],\n"
                        "  \"metadata\": {\n"
                        "    \"a \\\"key\\\"\": \"v\"\n"
                        "  }\n"
                        "}\n");
}

enum { NAME, COUNT, SHARE, SHAPE, FLAG, NOTE, COLUMNS };
static const Column columns[COLUMNS] = {
    [NAME] = { "name", "name", CELL_NAME }, [COUNT] = { "count", "count", CELL_COUNT }, [SHARE] = { "share", "share", CELL_SHARE },
    [SHAPE] = { NULL, "shape", CELL_SHAPE }, [FLAG] = { "flag", NULL, CELL_FLAG }, [NOTE] = { "note", "note", CELL_NOTE },
};
static const Shape known = { 2, { 64, 3 } }, open_shape = { 2, { SYMBOL_BASE, 3 } };
static const Cell cells[2 * COLUMNS] = {
    { .text = "a.long.name.of.a.layer" }, { .count = 123456 }, { .share = 0.25 }, { .shape = &known }, { .flag = true }, { .text = "first weighted layer" },
    { .text = "b\n" }, { .count = -1 }, { .share = -1 }, { .shape = &open_shape }, { .flag = false }, { .text = NULL },
};
static const char *const symbols[] = { "batch" };

static void tables_are_aligned(void **state)
{
    (void)state;
    Text t = { .arena = arena };
    Table table = { columns, COLUMNS, cells, 2, symbols };
    table_text(&t, &table, 0);
    assert_string_equal(text_done(&t), "name                    count   share  shape      note\n"
                                       "a.long.name.of.a.layer  123 k  25.0 %  64x3       first weighted layer\n"
                                       "b\\n                         ?       ?  batch x 3\n");
    t = (Text){ .arena = arena };
    table_text(&t, &table, 48);
    assert_string_equal(text_done(&t), "name                    count   share  shape\n"
                                       "      note\n"
                                       "a.long.name.of.a.layer  123 k  25.0 %  64x3\n"
                                       "      first weighted layer\n"
                                       "b\\n                         ?       ?  batch x 3\n");
    t = (Text){ .arena = arena };
    table_text(&t, &table, 40);
    assert_memory_equal(text_done(&t), "name            count   share  shape\n", 37);
    assert_non_null(strstr(text_done(&t), "a.long...layer  123 k"));
}

static void tables_are_json(void **state)
{
    (void)state;
    Text t = { .arena = arena };
    Json j = { .out = &t };
    json_object(&j, NULL);
    table_json(&j, "rows", &(Table){ columns, COLUMNS, cells, 2, symbols });
    json_end(&j);
    assert_string_equal(text_done(&t), "{\n"
                                       "  \"rows\": [\n"
                                       "    {\"name\": \"a.long.name.of.a.layer\", \"count\": 123456, \"share\": 0.25, \"flag\": true, "
                                       "\"note\": \"first weighted layer\"},\n"
                                       "    {\"name\": \"b\\n\", \"count\": null, \"share\": null, \"flag\": false, \"note\": null}\n"
                                       "  ]\n"
                                       "}\n");
}

static void paragraphs_wrap(void **state)
{
    (void)state;
    Text t = { .arena = arena };
    text_wrap(&t, "one two  three averyveryverylongword four", 2, 12);
    assert_string_equal(text_done(&t), "  one two\n  three\n  averyveryverylongword\n  four\n");
}

static void groups_have_patterns(void **state)
{
    (void)state;
    assert_string_equal(names_pattern(arena, (const char *const[]){ "l1.0.conv", "l1.1.conv", "l2.7.conv" }, 3), "l*.conv");
    assert_string_equal(names_pattern(arena, (const char *const[]){ "l1.conv", "l11.conv" }, 2), "l1*.conv");
    assert_string_equal(names_pattern(arena, (const char *const[]){ "aa", "aaa" }, 2), "aa*");
    assert_string_equal(names_pattern(arena, (const char *const[]){ "one" }, 1), "one");
    assert_string_equal(names_pattern(arena, (const char *const[]){ "x", "y" }, 2), "x ..");
    assert_string_equal(names_pattern(arena, (const char *const[]){ "\xc3\xa4", "\xc3\xb6" }, 2), "\xc3\xa4 ..");
}

static void memory_may_run_out(void **state)
{
    (void)state;
    for (long n = 1; n < 40; n++) {
        Arena *small = arena_new();
        assert_non_null(small);
        Text t = { .arena = small };
        Json j = { .out = &t };
        arena_fail_after(n);
        json_object(&j, NULL);
        for (int i = 0; i < 3000; i++) json_string(&j, "key", "a value that takes room");
        table_json(&j, "rows", &(Table){ columns, COLUMNS, cells, 2, symbols });
        json_end(&j);
        table_text(&t, &(Table){ columns, COLUMNS, cells, 2, symbols }, 30);
        arena_fail_after(0);
        assert_true(text_check(&t) == ERR_NOMEM || n > 1);
        arena_free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names_lose_their_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_short, setup, teardown),
        cmocka_unit_test_setup_teardown(json_is_valid, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_are_aligned, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_are_json, setup, teardown),
        cmocka_unit_test_setup_teardown(paragraphs_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_have_patterns, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_may_run_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
