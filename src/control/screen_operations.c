/* SPDX-License-Identifier: Apache-2.0 */
#include "control/screen_operations.h"

#include <errno.h>
#include <stdlib.h>

#define TEXT_MAX (CHANNEL_MESSAGE_MAX / 2) /* most of it needs no escapes */

int screen_operation_shot(struct control_call *call, struct error *error)
{
    if (call->fd_count != 1)
        return error_set(error, EINVAL, "vm.screenshot: no file came with it");
    return vm_screenshot(call->vm, call->fds[0], error);
}

int screen_operation_text(struct control_call *call, struct error *error)
{
    char *text = vm_screen_text(call->vm, error);
    if (!text)
        return -error->code;
    if (strlen(text) > TEXT_MAX)
        text[TEXT_MAX] = 0; /* no text mode that anybody uses is so large */
    call->reply = json_pack("{s:s}", "text", text);
    free(text);
    return 0;
}

int screen_operation_type(struct control_call *call, struct error *error)
{
    const char *text;
    size_t length;
    if (json_unpack((json_t *)call->body, "{s:s%}", "text", &text, &length) < 0)
        return error_set(error, EINVAL, "vm.type: \"text\" must be a string");
    return vm_type(call->vm, text, length, error);
}

int screen_operation_key(struct control_call *call, struct error *error)
{
    const char *keys;
    if (json_unpack((json_t *)call->body, "{s:s}", "keys", &keys) < 0)
        return error_set(error, EINVAL, "vm.key: \"keys\" must be a string, as \"ctrl-alt-del\"");
    return vm_press(call->vm, keys, error);
}
