/* SPDX-License-Identifier: Apache-2.0 */
/* The part common to all views: options, creation, keys by name. */
#include "display/display.h"

#include "base/bits.h"
#include "display/keys.h"
#include "display/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct display_ops display_none = {
    .name = "none", .word = "none", .size = sizeof(struct display)};

static const struct display_ops *const views[] = {&display_none, &display_text, &display_vnc};

static int parse_setting(const char *word, struct display_config *config, struct error *error)
{
    static const char password_file[] = "password-file=";
    if (strncmp(word, password_file, strlen(password_file)))
        return error_set(error, EINVAL, "--display: no setting '%.80s'; use " DISPLAY_SYNTAX, word);
    config->password_file = word + strlen(password_file);
    return 0;
}

int display_parse(char *text, struct display_config *config, struct error *error)
{
    char *rest = text, *name = strsep(&rest, ","), *address = strchr(name, '=');
    if (address)
        *address++ = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(views); i++) {
        const struct display_ops *ops = views[i];
        if (strcmp(ops->name, name) || ops->takes_address != (address != NULL))
            continue;
        *config = (struct display_config){.ops = ops, .address = address};
        int result = 0;
        for (char *word; result == 0 && (word = strsep(&rest, ","));)
            result = ops->takes_address
                         ? parse_setting(word, config, error)
                         : error_set(error, EINVAL, "--display %s: takes no settings", name);
        return result;
    }
    return error_set(error, EINVAL, "--display %s: must be " DISPLAY_SYNTAX, name);
}

const char *display_word(unsigned index)
{
    return index < ARRAY_SIZE(views) ? views[index]->word : NULL;
}

bool display_is_terminal(const struct display_config *config)
{
    return config->ops && config->ops->is_terminal;
}

static int open_parts(struct display *display, struct error *error)
{
    const struct display_ops *ops = display->ops;
    display->screen = screen_create(error);
    if (!display->screen)
        return -ENOMEM;
    display->typist = typist_create(display->host.loop, &display->input, error);
    if (!display->typist)
        return -ENOMEM;
    return ops->create ? ops->create(display, error) : 0;
}

struct display *display_create(const struct display_config *config, const struct display_host *host,
                               struct error *error)
{
    struct display *display = calloc(1, config->ops->size);
    if (!display) {
        error_set(error, ENOMEM, "--display: out of memory");
        return NULL;
    }
    display->ops = config->ops;
    display->config = *config;
    display->host = *host;
    if (open_parts(display, error) == 0)
        return display;
    display_destroy(display);
    return NULL;
}

struct screen *display_screen(struct display *display)
{
    return display->screen;
}

struct input_sink *display_input(struct display *display)
{
    return &display->input;
}

int display_start(struct display *display, struct error *error)
{
    return display->ops->start ? display->ops->start(display, error) : 0;
}

int display_press(struct display *display, const char *chord, struct error *error)
{
    uint16_t codes[KEY_CHORD_MAX];
    unsigned count;
    int result = key_parse_chord(chord, codes, &count, error);
    return result < 0 ? result : typist_chord(display->typist, codes, count, error);
}

int display_type(struct display *display, const char *text, size_t length, struct error *error)
{
    return typist_text(display->typist, text, length, error);
}

void display_restore(struct display *display)
{
    if (display)
        console_restore(display->console);
}

void display_take_again(struct display *display)
{
    if (display)
        console_take_again(display->console);
    display_size_changed(display); /* all is drawn again */
}

void display_size_changed(struct display *display)
{
    if (display && display->console)
        console_size_changed(display->console);
}

void display_destroy(struct display *display)
{
    if (!display)
        return;
    if (display->ops->close)
        display->ops->close(display);
    console_destroy(display->console);
    typist_destroy(display->typist);
    screen_destroy(display->screen);
    free(display);
}
