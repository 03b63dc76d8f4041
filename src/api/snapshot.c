/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints about snapshots. */
#include "manage/snapshot.h"
#include "api/api.h"

#include <errno.h>
#include <string.h>

#define FILE_URL "file://"

/* The folder that a file:// URL in the body names. NULL: the call has been answered. */
static const char *folder_of(struct api_call *call, const char *key)
{
    struct error error = {0};
    const char *url = json_string_value(json_object_get(call->body, key));
    size_t prefix = strlen(FILE_URL);
    if (url && !strncmp(url, FILE_URL, prefix) && url[prefix] == '/' && strlen(url) < PATH_MAX / 2)
        return url + prefix;
    error_set(&error, EINVAL, "%s: \"%s\" must be a URL as file:///absolute/path",
              call->endpoint->path, key);
    api_fail(call, 400, error.message);
    return NULL;
}

void api_vm_snapshot(struct api_call *call)
{
    struct error error = {0};
    const char *folder = folder_of(call, "destination_url");
    bool lasting = !json_is_false(json_object_get(call->body, "sync"));
    if (folder && snapshot_take(call->supervisor, folder, lasting, call->request->peer, api_done,
                                call, &error) < 0)
        api_fail(call, 500, error.message);
}

void api_vm_restore(struct api_call *call)
{
    struct error error = {0};
    const char *folder = folder_of(call, "source_url");
    if (folder && snapshot_restore(call->supervisor, folder, 0, call->request->peer, api_done, call,
                                   &error) < 0)
        api_fail(call, 500, error.message);
}
