/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints, a row each. */
#include "api/api.h"

#define NONE     (1u << VM_NONE)
#define CREATED  (1u << VM_CREATED)
#define RUNNING  (1u << VM_RUNNING)
#define PAUSED   (1u << VM_PAUSED)
#define SHUTDOWN (1u << VM_SHUTDOWN)
#define MACHINE  (RUNNING | PAUSED) /* there is one to ask */
#define DEFINED  (CREATED | MACHINE | SHUTDOWN)
#define ALWAYS   (NONE | DEFINED)

const struct endpoint api_endpoints[] = {
    {"GET", "vmm.ping", false, ALWAYS, api_vmm_ping, VM_NONE, NULL},
    {"PUT", "vmm.shutdown", false, ALWAYS, api_vmm_shutdown, VM_NONE, NULL},
    {"PUT", "vm.create", true, NONE, api_vm_create, VM_NONE, NULL},
    {"PUT", "vm.delete", false, DEFINED, api_vm_delete, VM_NONE, NULL},
    {"GET", "vm.info", false, DEFINED, api_vm_info, VM_NONE, NULL},
    {"PUT", "vm.boot", false, CREATED | SHUTDOWN, api_vm_boot, VM_NONE, NULL},
    {"PUT", "vm.shutdown", false, MACHINE, api_vm_shutdown, VM_NONE, NULL},
    {"PUT", "vm.pause", false, RUNNING, NULL, VM_PAUSED, "paused"},
    {"PUT", "vm.resume", false, PAUSED, NULL, VM_RUNNING, "resumed"},
    {"PUT", "vm.reboot", false, MACHINE, NULL, VM_NONE, "rebooted"},
    {"PUT", "vm.snapshot", true, MACHINE, api_vm_snapshot, VM_NONE, NULL},
    {"PUT", "vm.restore", true, NONE | CREATED | SHUTDOWN, api_vm_restore, VM_NONE, NULL},
    {"PUT", "vm.power-button", false, RUNNING, NULL, VM_NONE, "power-button"},
    {"PUT", "vm.add-disk", true, MACHINE, api_vm_add_disk, VM_NONE, NULL},
    {"PUT", "vm.remove-device", true, MACHINE, NULL, VM_NONE, NULL},
    {"GET", "vm.counters", false, MACHINE, NULL, VM_NONE, NULL},
    {"GET", "events", false, ALWAYS, api_events, VM_NONE, NULL},
    {"GET", "/metrics", false, ALWAYS, api_metrics, VM_NONE, NULL},
    {"PUT", "vm.screenshot", true, MACHINE, api_vm_screenshot, VM_NONE, NULL},
    {"GET", "vm.screen-text", false, MACHINE, NULL, VM_NONE, NULL},
    {"PUT", "vm.type", true, RUNNING, NULL, VM_NONE, NULL},
    {"PUT", "vm.key", true, RUNNING, NULL, VM_NONE, NULL},
    {0},
};
