/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: what Prometheus collects. Prometheus text exposition format 0.0.4. */
#include "api/api.h"
#include "manage/process_usage.h"

#include <stdio.h>

static void print_metric(FILE *stream, const char *name, const char *type, const char *help,
                         double value)
{
    fprintf(stream, "# HELP nacre_%s %s\n# TYPE nacre_%s %s\nnacre_%s %.15g\n", name, help, name,
            type, name, value);
}

static void print_states(FILE *stream, enum vm_state current)
{
    static const enum vm_state states[] = {VM_NONE, VM_CREATED, VM_RUNNING, VM_PAUSED, VM_SHUTDOWN};
    fprintf(stream, "# HELP nacre_vm_state 1 for the state that the VM is in.\n"
                    "# TYPE nacre_vm_state gauge\n");
    for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        fprintf(stream, "nacre_vm_state{state=\"%s\"} %d\n", vm_state_name(states[i]),
                states[i] == current);
}

static void print_process(FILE *stream, const struct supervisor *supervisor)
{
    struct process_usage usage;
    process_usage_read(supervisor_machine_pid(supervisor), &usage);
    print_metric(stream, "uptime_seconds", "gauge", "Time since the machine has booted.",
                 (double)supervisor_uptime(supervisor));
    print_metric(stream, "cpu_seconds_total", "counter", "Processor time of the machine's process.",
                 usage.cpu_seconds);
    print_metric(stream, "resident_memory_bytes", "gauge", "Memory of the machine's process.",
                 (double)usage.memory_bytes);
}

static void print_label(FILE *stream, const char *text)
{
    for (; *text; text++)
        if (*text >= ' ' && *text != '"' && *text != '\\')
            fputc(*text, stream);
}

/* counters: of vm.counters, by a process that a guest may have. */
static void print_counters(FILE *stream, const json_t *counters)
{
    const char *name, *key;
    json_t *device, *value;
    fprintf(stream, "# HELP nacre_device_total What the machine's devices have counted.\n"
                    "# TYPE nacre_device_total counter\n");
    json_object_foreach((json_t *)counters, name, device)
    {
        json_object_foreach(device, key, value)
        {
            fprintf(stream, "nacre_device_total{device=\"");
            print_label(stream, name);
            fprintf(stream, "\",counter=\"");
            print_label(stream, key);
            fprintf(stream, "\"} %lld\n", (long long)json_integer_value(value));
        }
    }
}

static void answer(void *opaque, const json_t *counters, const char *why)
{
    struct api_call *call = opaque;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream) {
        print_states(stream, supervisor_state(call->supervisor));
        print_process(stream, call->supervisor);
        if (counters)
            print_counters(stream, counters);
        fclose(stream);
    }
    api_reply_text(call, "text/plain; version=0.0.4", text);
}

void api_metrics(struct api_call *call)
{
    enum vm_state state = supervisor_state(call->supervisor);
    bool asked =
        (state == VM_RUNNING || state == VM_PAUSED) &&
        supervisor_ask(call->supervisor, "vm.counters", NULL, NULL, 0, answer, call, NULL) == 0;
    if (!asked)
        answer(call, NULL, NULL);
}
