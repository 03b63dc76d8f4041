/* SPDX-License-Identifier: Apache-2.0 */
/* nacre screenshot, nacre type, nacre key: a running VM's screen and keyboard. */
#include "cli/vm_command.h"
#include "display/keys.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of all three: a VM and one word more. */
struct screen_options {
    struct vm_command vm;
    const char *word;
    bool flag; /* --text or --enter */
};

static int take_argument(void *target, const char *text, struct error *error)
{
    struct screen_options *options = target;
    if (!options->vm.name)
        return vm_command_argument(&options->vm, text, error);
    if (options->word)
        return error_set(error, EINVAL, "%s: unexpected argument", text);
    options->word = text;
    return 0;
}

static int set_flag(void *target, const char *text, struct error *error)
{
    ((struct screen_options *)target)->flag = true;
    return 0;
}

/* Body taken over. */
static int ask(const struct screen_options *options, const char *method, const char *endpoint,
               json_t *body, json_t **reply, struct error *error)
{
    int result = vm_command_ask(&options->vm.directory, method, endpoint, body, reply, error);
    json_decref(body);
    return result;
}

/* --- nacre screenshot --- */

static int print_text(const struct screen_options *options, struct error *error)
{
    json_t *reply = NULL;
    int result = ask(options, "GET", "vm.screen-text", NULL, &reply, error);
    const char *text = json_string_value(json_object_get(reply, "text"));
    if (result == 0 && text)
        fputs(text, stdout);
    json_decref(reply);
    return result;
}

static int take_screenshot(struct vm_command *vm, struct error *error)
{
    const struct screen_options *options = (const struct screen_options *)vm;
    char folder[PATH_MAX], path[2 * PATH_MAX];
    if (options->flag)
        return print_text(options, error);
    if (!options->word)
        return error_set(error, EINVAL, "screenshot: to which file? or --text");
    if (!getcwd(folder, sizeof(folder)))
        return error_set(error, errno, "screenshot: in no folder: %s", strerror(errno));
    bool absolute = options->word[0] == '/';
    snprintf(path, sizeof(path), "%s%s%s", absolute ? "" : folder, absolute ? "" : "/",
             options->word);
    return ask(options, "PUT", "vm.screenshot", json_pack("{s:s}", "path", path), NULL, error);
}

static int run_screenshot(int argc, char **argv)
{
    struct screen_options options = {0};
    return vm_command_run(&command_screenshot, &options.vm, argc, argv, take_screenshot);
}

static const struct option_spec screenshot_options[] = {
    {"text", NULL, "print the characters of a text screen instead", set_flag, NULL},
    {0},
};

const struct command command_screenshot = {
    .name = "screenshot",
    .summary = "write what a VM's screen shows to a PNG file",
    .usage = "NAME FILE | NAME --text",
    .examples = "  nacre screenshot web screen.png\n  nacre screenshot web --text\n",
    .options = screenshot_options,
    .run = run_screenshot,
    .argument = take_argument,
};

/* --- nacre type --- */

static int type_text(struct vm_command *vm, struct error *error)
{
    const struct screen_options *options = (const struct screen_options *)vm;
    const char *text = options->word ? options->word : "";
    if (!options->word && !options->flag)
        return error_set(error, EINVAL, "type: type what? see nacre type --help");
    char *line = NULL;
    if (asprintf(&line, "%s%s", text, options->flag ? "\n" : "") < 0)
        return error_set(error, ENOMEM, "type: out of memory");
    json_t *body = json_pack("{s:s}", "text", line);
    free(line);
    if (!body)
        return error_set(error, EINVAL, "type: the text is not UTF-8; only ASCII can be typed");
    return ask(options, "PUT", "vm.type", body, NULL, error);
}

static int run_type(int argc, char **argv)
{
    struct screen_options options = {0};
    return vm_command_run(&command_type, &options.vm, argc, argv, type_text);
}

static const struct option_spec type_options[] = {
    {"enter", NULL, "press Enter at the end", set_flag, NULL},
    {0},
};

const struct command command_type = {
    .name = "type",
    .summary = "type text on a VM's keyboard, in the US layout",
    .usage = "NAME TEXT [OPTION...]",
    .examples = "  nacre type web --enter root\n",
    .options = type_options,
    .run = run_type,
    .argument = take_argument,
};

/* --- nacre key --- */

static int press_key(struct vm_command *vm, struct error *error)
{
    const struct screen_options *options = (const struct screen_options *)vm;
    uint16_t codes[KEY_CHORD_MAX];
    unsigned count;
    if (!options->word)
        return error_set(error, EINVAL, "key: which one? see nacre key --help");
    int result = key_parse_chord(options->word, codes, &count, error);
    if (result < 0)
        return result;
    return ask(options, "PUT", "vm.key", json_pack("{s:s}", "keys", options->word), NULL, error);
}

static int run_key(int argc, char **argv)
{
    struct screen_options options = {0};
    return vm_command_run(&command_key, &options.vm, argc, argv, press_key);
}

const struct command command_key = {
    .name = "key",
    .summary = "press keys together on a VM's keyboard",
    .usage = "NAME KEY[-KEY...]",
    .examples = "  nacre key web ctrl-alt-del\n"
                "  nacre key web alt-f2\n"
                "\nKeys: a to z, 0 to 9, f1 to f12, enter, esc, tab, space, backspace, insert,\n"
                "delete, home, end, page_up, page_down, up, down, left, right, minus, equal,\n"
                "bracketleft, bracketright, semicolon, apostrophe, grave, backslash, comma, dot,\n"
                "slash, ctrl, shift, alt, super, ctrl_right, shift_right, alt_right, menu, print,\n"
                "caps_lock, num_lock, scroll_lock, kp_0 to kp_9, kp_enter, kp_add, kp_subtract,\n"
                "kp_multiply, kp_divide, kp_decimal.\n",
    .options = no_options,
    .run = run_key,
    .argument = take_argument,
};
