/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/launch.h"

#include "cli/notify.h"
#include "cli/supervise.h"
#include "cli/vm_command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first process is told that all is well by a zero byte; what comes before it are messages. */
#define READY '\0'

/* From here on the VM's process is on its own. */
static void let_go(void *opaque)
{
    const struct vm_launch *start = opaque;
    int fd = start->foreground
                 ? -1
                 : open(start->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (start->foreground)
        notify_ready();
    if (fd < 0)
        return;
    fputc(READY, stderr);
    fflush(stderr);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static int supervise_vm(struct vm_launch *start)
{
    char socket[STATE_PATH_MAX];
    struct log log;
    struct error error = {0};
    state_directory_file(start->directory, STATE_SOCKET, socket);
    log_init(&log, stderr, LOG_INFO);
    log.name = start->directory->name;
    const struct supervise_config config = {.directory = start->directory,
                                            .socket = socket,
                                            .restore = start->restore,
                                            .copy = start->copy,
                                            .ready = let_go,
                                            .opaque = start};
    int code = EXIT_CODE_CONFIGURATION;
    if (!start->foreground && log_open_file(&log, start->log_path, &error) < 0)
        log_message(&log, LOG_ERROR, "%s", error.message);
    else
        code = supervise(&config, &log);
    log_destroy(&log);
    return code;
}

/* Passes on what the child says; its exit code, or EXIT_CODE_OK when it goes on alone. */
static int wait_for_child(pid_t child, int messages)
{
    char bytes[512];
    ssize_t count;
    int status;
    while ((count = read(messages, bytes, sizeof(bytes))) > 0) {
        bool ready = bytes[count - 1] == READY;
        fwrite(bytes, 1, (size_t)(count - ready), stderr);
        if (ready)
            return EXIT_CODE_OK;
    }
    if (waitpid(child, &status, 0) == child && WIFEXITED(status))
        return WEXITSTATUS(status);
    return EXIT_CODE_HOST;
}

static int detach(struct vm_launch *start, struct error *error)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return command_end(error_set(error, errno, "cannot make a pipe: %s", strerror(errno)),
                           error);
    pid_t child = fork();
    if (child < 0)
        return command_end(error_set(error, errno, "cannot start a process: %s", strerror(errno)),
                           error);
    if (child > 0) {
        close(pipes[1]);
        int code = wait_for_child(child, pipes[0]);
        close(pipes[0]);
        return code;
    }
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    close(null);
    close(pipes[0]);
    close(pipes[1]);
    return supervise_vm(start);
}

int vm_launch(struct vm_launch *start, struct error *error)
{
    state_directory_file(start->directory, STATE_LOG, start->log_path);
    return start->foreground ? supervise_vm(start) : detach(start, error);
}
