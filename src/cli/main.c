/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <string.h>

/* A row each, so that two who add one do not meet. */
/* clang-format off */
const struct command *const commands[] = {
    &command_run,
    &command_create,
    &command_start,
    &command_stop,
    &command_pause,
    &command_resume,
    &command_reset,
    &command_set,
    &command_show,
    &command_screenshot,
    &command_type,
    &command_key,
    &command_attach,
    &command_detach,
    &command_console,
    &command_ssh,
    &command_exec,
    &command_list,
    &command_log,
    &command_rename,
    &command_delete,
    &command_prune,
    &command_snapshot,
    &command_restore,
    &command_clone,
    &command_vmm,
    &command_image,
    &command_network,
    &command_doctor,
    &command_completion,
    &command_manual,
    NULL,
};
/* clang-format on */

static void help(FILE *stream)
{
    fprintf(stream, "nacre - a virtual machine monitor, with or without KVM\n\n"
                    "Usage: nacre COMMAND [OPTION...]\n\nCommands:\n");
    for (unsigned i = 0; commands[i]; i++)
        fprintf(stream, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(stream, "\n  nacre COMMAND --help   a command's options and examples\n"
                    "  nacre --version        which nacre this is\n\n"
                    "Example:\n  nacre run --kernel vmlinuz --initrd initrd.img "
                    "--append \"console=ttyS0\"\n");
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        help(argc > 1 ? stdout : stderr);
        return argc > 1 ? EXIT_CODE_OK : EXIT_CODE_CONFIGURATION;
    }
    if (!strcmp(word, "--version")) {
        printf("nacre %s\n", NACRE_VERSION);
        return EXIT_CODE_OK;
    }
    for (unsigned i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, word))
            return commands[i]->run(argc - 2, argv + 2);
    fprintf(stderr, "nacre: %s: unknown command; see nacre --help\n", word);
    return EXIT_CODE_CONFIGURATION;
}
