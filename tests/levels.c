#include "tests/levels.h"
#include "kernels/kernels.h"
#include "tests/cmocka.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* As tests/run.sh runs programs: in an emulator a child needs it as well. */
void run_level(int level, const char *argument)
{
    fflush(NULL);
    pid_t id = fork();
    if (!id) {
        setenv("ONESHOT_ISA", kernels_isa(level), 1);
        (void)!freopen("/dev/null", "w", stdout);
        execl("/bin/sh", "sh", "-c", "exec ${TEST_WRAP:-} \"$@\"", "sh", program_invocation_name, argument, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_true(id > 0 && waitpid(id, &status, 0) == id);
    if (status) fail_msg("ONESHOT_ISA=%s %s '%s' failed", kernels_isa(level), program_invocation_name, argument);
}
