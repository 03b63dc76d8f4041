/* SPDX-License-Identifier: Apache-2.0 */
#include "net/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_FOUND 127

static void child_run(const char *const *arguments, int input, int output)
{
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);
    /* Where a user's shell does not look. */
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    execvp(arguments[0], (char *const *)arguments);
    _exit(NOT_FOUND);
}

static int failed(const char *name, int status, int output, struct error *error)
{
    char said[ERROR_MESSAGE_MAX / 2] = "";
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
        return error_set(error, ENOENT, "%s: is missing: install the package that has it", name);
    if (pread(output, said, sizeof(said) - 1, 0) < 0)
        said[0] = 0;
    said[strcspn(said, "\n")] = 0;
    return error_set(error, EIO, "%s: %s", name, *said ? said : "failed without a word");
}

/* Memory files, not pipes: nobody has to read while the other writes. */
int program_run(const char *const *arguments, const char *input, struct error *error)
{
    int in = memfd_create("nacre-input", MFD_CLOEXEC);
    int out = memfd_create("nacre-output", MFD_CLOEXEC), status = -1, result = 0;
    if (in < 0 || out < 0 || pwrite(in, input, strlen(input), 0) < 0)
        result = error_set(error, errno, "%s: %s", arguments[0], strerror(errno));
    pid_t pid = result == 0 ? fork() : -1;
    if (pid == 0)
        child_run(arguments, in, out);
    if (result == 0 && (pid < 0 || waitpid(pid, &status, 0) < 0))
        result = error_set(error, errno, "%s: %s", arguments[0], strerror(errno));
    else if (result == 0 && status)
        result = failed(arguments[0], status, out, error);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return result;
}
