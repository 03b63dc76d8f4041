/* SPDX-License-Identifier: Apache-2.0 */
/* What others may do at a machine's screen and keyboard. */
#include "display/picture.h"
#include "display/png.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <stdlib.h>

static struct display *find_display(const struct vm *vm, struct error *error)
{
    if (!vm->config.display)
        error_set(error, ENODEV, "the machine has no screen; give it one with --display none");
    return vm->config.display;
}

int vm_screenshot(struct vm *vm, int fd, struct error *error)
{
    struct display *display = find_display(vm, error);
    return display ? png_write_screen(display_screen(display), fd, error) : -ENODEV;
}

char *vm_screen_text(struct vm *vm, struct error *error)
{
    struct display *display = find_display(vm, error);
    char *text = display ? picture_text(display_screen(display)) : NULL;
    if (display && !text)
        error_set(error, ENOMEM, "screen: out of memory");
    return text;
}

int vm_type(struct vm *vm, const char *text, size_t length, struct error *error)
{
    struct display *display = find_display(vm, error);
    return display ? display_type(display, text, length, error) : -ENODEV;
}

int vm_press(struct vm *vm, const char *chord, struct error *error)
{
    struct display *display = find_display(vm, error);
    return display ? display_press(display, chord, error) : -ENODEV;
}
