/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's configuration: the input is its JSON, from a file or a client. It is completed, changed
 * and turned into options; what is refused must say why.
 */
#include "fuzz/fuzz.h"

#include "manage/config.h"

static void turn_into_options(const json_t *config)
{
    struct arguments arguments = {0};
    struct error error = {0};
    if (config_arguments(config, &arguments, &error) < 0 && !error.message[0])
        abort();
    arguments_free(&arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const options[] = {"cpus", "memory", "disk", "net", "engine", "kernel"};
    struct error error = {0};
    json_t *config = json_loadb((const char *)bytes, length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(config)) {
        turn_into_options(config);
        for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
            config_set(config, options[i], "1,a=b", &error);
            config_drop(config, options[(i + 3) % 6], &error);
        }
        config_add_own_disk(config, "/tmp/x/disk.qcow2", "/none", &error);
        config_move_disks(config, "/tmp/x", "/tmp/y");
        config_complete(config);
        turn_into_options(config);
    }
    json_decref(config);
    return 0;
}
