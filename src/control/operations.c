/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor can ask of its machine; a row each. */
#include "control/control.h"
#include "control/screen_operations.h"

static int pause_machine(struct control_call *call, struct error *error)
{
    vm_pause(call->vm);
    return 0;
}

static int resume_machine(struct control_call *call, struct error *error)
{
    vm_resume(call->vm);
    return 0;
}

static int reset_machine(struct control_call *call, struct error *error)
{
    return vm_reset(call->vm, error);
}

static int press_power(struct control_call *call, struct error *error)
{
    vm_press_power(call->vm);
    return 0;
}

static int stop_machine(struct control_call *call, struct error *error)
{
    vm_stop(call->vm);
    return 0;
}

const struct control_operation control_operations[] = {
    {"vm.pause", pause_machine},
    {"vm.resume", resume_machine},
    {"vm.reboot", reset_machine},
    {"vm.power-button", press_power},
    {"vm.shutdown", stop_machine},
    {"vm.counters", control_counters},
    {"vm.screenshot", screen_operation_shot},
    {"vm.screen-text", screen_operation_text},
    {"vm.type", screen_operation_type},
    {"vm.key", screen_operation_key},
    {"vm.snapshot", control_snapshot},
    {"disks", control_disks},
    {"vm.add-disk", control_add_disk},
    {"vm.remove-device", control_remove_device},
    {0},
};
