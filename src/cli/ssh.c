/* SPDX-License-Identifier: Apache-2.0 */
/* nacre ssh and exec: OpenSSH to the port that a VM's network forwards to its port 22. */
#include "cli/vm_command.h"
#include "manage/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ssh_options {
    struct vm_command vm;
    const char *user, *identity;
};

static int set_user(void *target, const char *text, struct error *error)
{
    ((struct ssh_options *)target)->user = text;
    return 0;
}

static int set_identity(void *target, const char *text, struct error *error)
{
    ((struct ssh_options *)target)->identity = text;
    return 0;
}

/* In "user,hostfwd=tcp:127.0.0.1:2222-:22": 127.0.0.1 and 2222. */
static bool find_forward(const char *settings, char address[64], unsigned *port)
{
    for (const char *word = settings; word;
         word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL) {
        char guest[64] = "";
        unsigned guest_port = 0;
        bool found = sscanf(word, "hostfwd=tcp:%63[^:,]:%u-%63[^:,]:%u", address, port, guest,
                            &guest_port) == 4 ||
                     sscanf(word, "hostfwd=tcp:%63[^:,]:%u-:%u", address, port, &guest_port) == 3;
        if (!found) {
            snprintf(address, 64, "127.0.0.1");
            found = sscanf(word, "hostfwd=tcp::%u-:%u", port, &guest_port) == 2;
        }
        if (found && guest_port == 22)
            return true;
    }
    return false;
}

static int find_port(const struct state_directory *directory, char address[64], unsigned *port,
                     struct error *error)
{
    size_t index;
    json_t *net, *info = NULL;
    int result = vm_command_info(directory, &info, error);
    if (result < 0)
        return result;
    result = -ENOENT;
    json_array_foreach(json_object_get(json_object_get(info, "config"), "net"), index, net)
    {
        const char *settings = json_string_value(json_object_get(net, "settings"));
        if (result < 0 && settings && find_forward(settings, address, port))
            result = 0;
    }
    json_decref(info);
    if (result == 0)
        return 0;
    return error_set(error, ENOENT,
                     "VM %s: nothing leads to its port 22: nacre set %s --net "
                     "user,hostfwd=tcp:127.0.0.1:2222-:22",
                     directory->name, directory->name);
}

/* The shell at the other end joins words with blanks and takes them apart again. */
static void add_quoted(struct arguments *arguments, const char *word)
{
    char *quoted = malloc(strlen(word) * 4 + 3), *to = quoted;
    if (quoted) {
        *to++ = '\'';
        for (; *word; word++) {
            if (*word == '\'') { /* end the quotes, a quote, begin them again */
                memcpy(to, "'\\'", 3);
                to += 3;
            }
            *to++ = *word;
        }
        *to++ = '\'';
        *to = '\0';
    }
    arguments_add(arguments, "%s", quoted ? quoted : "");
    free(quoted);
}

static int run_ssh(const struct ssh_options *options, char **words, bool batch, struct error *error)
{
    struct arguments ssh = {0};
    char address[64], known[STATE_PATH_MAX];
    unsigned port;
    int result = find_port(&options->vm.directory, address, &port, error);
    if (result < 0)
        return result;
    state_directory_file(&options->vm.directory, "known_hosts", known);
    arguments_add(&ssh, "ssh");
    arguments_add(&ssh, "-p%u", port);
    arguments_add(&ssh, "-l%s", options->user);
    arguments_add(&ssh, "-oUserKnownHostsFile=\"%s\"", known);
    arguments_add(&ssh, "-oStrictHostKeyChecking=accept-new");
    arguments_add(&ssh, "-oLogLevel=ERROR");
    arguments_add(&ssh, "-oBatchMode=%s", batch ? "yes" : "no");
    if (options->identity)
        arguments_add(&ssh, "-i%s", options->identity);
    arguments_add(&ssh, "%s", address);
    for (; words && *words; words++)
        add_quoted(&ssh, *words);
    if (arguments_complete(&ssh))
        execvp("ssh", ssh.words);
    arguments_free(&ssh);
    return error_set(error, errno, "ssh: %s; it is in Debian's package openssh-client",
                     strerror(errno));
}

/* Words behind "--" are the command's. */
static int run(const struct command *command, int argc, char **argv, bool batch)
{
    struct ssh_options options = {.user = "root"};
    struct error error = {0};
    int own = 0;
    while (own < argc && strcmp(argv[own], "--"))
        own++;
    char **words = own < argc ? argv + own + 1 : NULL;
    int result = vm_command_open(command, &options.vm, own, argv, &error);
    if (result == 0 && batch && (!words || !*words))
        result = error_set(&error, EINVAL, "which command? see nacre exec --help");
    if (result == 0)
        result = run_ssh(&options, words, batch, &error);
    vm_command_close(&options.vm);
    return command_end(result, &error);
}

static const struct option_spec option_table[] = {
    {"user", "NAME", "who to be there (root)", set_user, NULL},
    {"identity", "FILE", "the private key", set_identity, NULL},
    {0},
};

static int run_interactive(int argc, char **argv)
{
    return run(&command_ssh, argc, argv, false);
}

const struct command command_ssh = {
    .name = "ssh",
    .summary = "log in to a VM by the port that it forwards",
    .usage = "NAME [OPTION...] [-- COMMAND...]",
    .examples = "  nacre ssh web --user debian\n",
    .options = option_table,
    .run = run_interactive,
    .argument = vm_command_argument,
};

static int run_exec(int argc, char **argv)
{
    return run(&command_exec, argc, argv, true);
}

const struct command command_exec = {
    .name = "exec",
    .summary = "run a command in a VM by ssh, without asking anything",
    .usage = "NAME [OPTION...] -- COMMAND...",
    .examples = "  nacre exec web -- systemctl is-system-running\n",
    .options = option_table,
    .run = run_exec,
    .argument = vm_command_argument,
};
