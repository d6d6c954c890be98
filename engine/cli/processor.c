#include "engine/cli/processor.h"
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };                  /* CPUs in a mask */

/* The rest of the first line of the file that starts with `key`, without blanks and colons before it; false when there is none. */
static bool read_line(const char *path, const char *key, char *text, int size)
{
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f && !found && fgets(text, size, f)) found = strncmp(text, key, strlen(key)) == 0;
    if (f) fclose(f);
    if (!found) return false;
    size_t skip = strlen(key);
    skip += strspn(text + skip, " \t:");
    memmove(text, text + skip, strlen(text + skip) + 1);
    text[strcspn(text, "\n")] = 0;
    return true;
}

/* Whether a core's lower-numbered sibling stands for it already. */
static bool is_sibling(int cpu)
{
    char path[96], text[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    return read_line(path, "", text, sizeof text) && strtol(text, NULL, 10) < cpu;
}

/* CPUs' worth of time by one group's file, "max 100000" or "150000 100000"; 0: no limit. */
static double quota_of(const char *folder)
{
    char path[1200], text[128], *end;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_line(path, "", text, sizeof text)) return 0;
    double quota = strtod(text, &end), period = strtod(end, NULL);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* The least quota of this process's control group and those around it (version 2), or of version 1's mount; 0: no limit. */
static double quota_read(void)
{
    char group[1000], folder[1100], text[64];
    double least = 0;
    if (!read_line("/proc/self/cgroup", "0::", group, sizeof group)) *group = 0;
    for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
        *end = 0;
        snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", group);
        double quota = quota_of(folder);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
    }
    if (least == 0 && read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "", text, sizeof text)) {
        double quota = strtod(text, NULL);
        if (quota > 0 && read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "", text, sizeof text)) least = quota / strtod(text, NULL);
    }
    return least;
}

/* Where OpenMP binds threads (OMP_PROC_BIND), it has bound this one before main began, and its own mask says little. */
static Err add_places(Arena *arena, cpu_set_t *set, size_t bytes)
{
    for (int i = 0; omp_get_proc_bind() != omp_proc_bind_false && i < omp_get_num_places(); i++) {
        const int n = omp_get_place_num_procs(i);
        int *cpu = arena_array(arena, (size_t)n + 1, sizeof *cpu);
        if (!cpu) return err_set(ERR_NOMEM, "not enough memory for the list of processors");
        omp_get_place_proc_ids(i, cpu);
        for (int k = 0; k < n; k++) if (cpu[k] < MOST) CPU_SET_S((size_t)cpu[k], bytes, set);
    }
    return OK;
}

Err processor_read(Arena *arena, Processor *out)
{
    char text[256];
    size_t bytes = CPU_ALLOC_SIZE(MOST);
    cpu_set_t *set = arena_alloc(arena, bytes);
    int *cpu = arena_array(arena, MOST, sizeof *cpu), n = 0;
    if (!set || !cpu) return err_set(ERR_NOMEM, "not enough memory for the list of processors");
    if (sched_getaffinity(0, bytes, set) != 0) return err_set(ERR_IO, "the system does not say which processors may be used");
    TRY(add_places(arena, set, bytes));
    for (int siblings = 0; siblings < 2; siblings++)
        for (int i = 0; i < MOST; i++)
            if (CPU_ISSET_S((size_t)i, bytes, set) && is_sibling(i) == siblings) cpu[n++] = i;
    double quota = quota_read();
    bool named = read_line("/proc/cpuinfo", "model name", text, sizeof text);
    *out = (Processor){ named ? arena_printf(arena, "%s", text) : "unknown", cpu, n, n };
    if (quota > 0 && quota < n) out->available = quota < 1 ? 1 : (int)quota;
    return out->name ? OK : err_set(ERR_NOMEM, "not enough memory for the name of the processor");
}

bool processor_pin(const int *cpu, int n)
{
    struct { cpu_set_t part[MOST / CPU_SETSIZE]; } set;
    CPU_ZERO_S(sizeof set, set.part);
    for (int i = 0; i < n; i++) CPU_SET_S((size_t)cpu[i], sizeof set, set.part);
    return sched_setaffinity(0, sizeof set, set.part) == 0;
}
