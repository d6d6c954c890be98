/* Strings as NumPy keeps them: UTF-32, all as long as the longest, filled up with zeros. */
#include "recipes/text.h"

/* One code point of UTF-8 at s[*at]; false: it is none. */
static bool decode(Span s, size_t *at, uint32_t *code)
{
    static const uint32_t LEAST[] = { 0, 0x80, 0x800, 0x10000 };
    uint8_t first = s.at[(*at)++];
    int more = first < 0x80 ? 0 : first >= 0xF0 && first < 0xF8 ? 3 : first >= 0xE0 && first < 0xF0 ? 2 : first >= 0xC0 && first < 0xE0 ? 1 : -1;
    if (more < 0) return false;
    uint32_t v = more ? first & (0x3Fu >> more) : first;
    for (int i = 0; i < more; i++) {
        if (*at == s.size || (s.at[*at] & 0xC0) != 0x80) return false;
        v = v << 6 | (s.at[(*at)++] & 0x3F);
    }
    *code = v;
    return v >= LEAST[more] && v <= 0x10FFFF && (v < 0xD800 || v > 0xDFFF);
}

Err text_pack(Arena *arena, const Tensor *strings, Tensor *out)
{
    const Span *s = strings->data;
    int64_t n;
    size_t width = 1;
    TRY(shape_count(&strings->shape, &n));
    for (int64_t i = 0; i < n; i++) if (s[i].size > width) width = s[i].size;      /* bytes: at least as many as code points */
    *out = (Tensor){ DT_STRING, strings->shape, (size_t)n * width * 4, arena_array(arena, (size_t)n * width + 1, 4) };
    if (!out->data || width > 1 << 20) return err_set(ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        uint32_t *to = (uint32_t *)out->data + (size_t)i * width;
        for (size_t at = 0; at < s[i].size; to++)
            if (!decode(s[i], &at, to)) return err_set(ERR_UNSUPPORTED, "element %lld is no UTF-8", (long long)i);
    }
    return OK;
}
