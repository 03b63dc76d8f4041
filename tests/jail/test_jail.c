/* SPDX-License-Identifier: Apache-2.0 */
/* The jail from inside: a child process enters it as each kind of thread and tries what it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "jail/jail.h"
#include "jail/privileges.h"
#include "jail/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_JAILED  77
#define EXIT_ESCAPED 1
#define X32_BIT      0x40000000

/* --- a child in the jail --- */

struct child {
    enum jail_mode mode;
    enum thread_kind kind;
    void (*act)(void);
    bool own_thread; /* enters on a thread of its own, as vcpus do */
    const struct thread_guard *guard;
};

struct outcome {
    int status; /* as from waitpid() */
    char text[2000];
};

static void *child_thread(void *opaque)
{
    struct child *child = opaque;
    sigset_t all;
    sigfillset(&all); /* as engines do on their threads */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    thread_enter(child->guard, child->kind);
    child->act();
    return NULL;
}

static void child_main(struct child *child)
{
    const struct jail_config config = {.mode = child->mode, .exit_code = EXIT_JAILED};
    struct error error = {0};
    pthread_t thread;
    struct jail *jail = jail_create(&config, &error);
    if (!jail) {
        fprintf(stderr, "%s\n", error.message);
        _exit(EXIT_ESCAPED);
    }
    child->guard = jail_guard(jail);
    if (child->own_thread) {
        pthread_create(&thread, NULL, child_thread, child);
        pthread_join(thread, NULL);
    } else {
        child_thread(child);
    }
    _exit(EXIT_SUCCESS);
}

static struct outcome run_child(struct child child)
{
    struct outcome outcome = {.status = -1};
    int ends[2];
    size_t used = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        child_main(&child);
    }
    close(ends[1]);
    for (ssize_t got;
         (got = read(ends[0], outcome.text + used, sizeof(outcome.text) - 1 - used)) > 0;)
        used += (size_t)got;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &outcome.status, 0), pid);
    return outcome;
}

static int exit_code(const struct outcome *outcome)
{
    return WIFEXITED(outcome->status) ? WEXITSTATUS(outcome->status) : -WTERMSIG(outcome->status);
}

/* --- what a guest that has taken over a thread would try --- */

static void try_execve(void)
{
    char *none[] = {NULL};
    execve("/bin/true", none, none);
}

static void try_open(void)
{
    (void)!open("/etc/passwd", O_RDONLY);
}

static void try_ptrace(void)
{
    ptrace(PTRACE_ATTACH, 1, NULL, NULL);
}

static void try_socket(void)
{
    (void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void try_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void try_protect(void)
{
    static const char page[1] __attribute__((aligned(4096)));
    mprotect((void *)page, 4096, PROT_READ | PROT_EXEC);
}

static void try_map_executable(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_map_file(void)
{
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
}

static void try_map_over(void)
{
    mmap((void *)0x10000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void try_kill_other(void)
{
    syscall(SYS_tgkill, 1, 1, 0);
}

static void try_unlink(void)
{
    (void)!unlink("/tmp/nacre-no-such-file");
}

static void try_sigaction(void)
{
    signal(SIGSYS, SIG_IGN);
}

static void try_prctl(void)
{
    prctl(PR_SET_DUMPABLE, 1);
}

static void try_read_process(void)
{
    syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
}

static void try_io_uring(void)
{
    syscall(SYS_io_uring_setup, 1, NULL);
}

static void try_unshare(void)
{
    (void)!unshare(CLONE_NEWUSER);
}

static void try_type_into_terminal(void)
{
    ioctl(STDIN_FILENO, TIOCSTI, "x");
}

static void try_punch(void)
{
    (void)!fallocate(STDIN_FILENO, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
}

static void try_x32(void)
{
    syscall(X32_BIT | SYS_getpid);
}

static void try_32_bit(void)
{
    long result = 20; /* getpid of the 32-bit ABI */
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
}

#define EVERY ((1u << THREAD_KIND_COUNT) - 1)

static const struct attempt {
    const char *name; /* of the call, as the message has it */
    void (*act)(void);
    unsigned kinds; /* that may not */
} attempts[] = {
    {"execve", try_execve, EVERY},
    {"openat", try_open, EVERY},
    {"ptrace", try_ptrace, EVERY},
    {"socket", try_socket, EVERY},
    {"clone", try_fork, EVERY},
    {"mprotect", try_protect, EVERY},
    {"mmap", try_map_executable, EVERY},
    {"mmap", try_map_file, EVERY},
    {"mmap", try_map_over, EVERY},
    {"tgkill", try_kill_other, EVERY},
    {"unlink", try_unlink, EVERY},
    {"rt_sigaction", try_sigaction, EVERY},
    {"prctl", try_prctl, EVERY},
    {"process_vm_readv", try_read_process, EVERY},
    {"io_uring_setup", try_io_uring, EVERY},
    {"unshare", try_unshare, EVERY},
    {"ioctl", try_type_into_terminal, EVERY},
    {"fallocate", try_punch, EVERY},
    {"another ABI's system call", try_x32, EVERY},
    {"another ABI's system call", try_32_bit, EVERY},
};

/* The loop runs on a process's first thread, and processes beside the machine's have no other. */
static bool has_own_thread(enum thread_kind kind)
{
    return kind == THREAD_VCPU || kind == THREAD_DISK;
}

static void check_stopped(const struct attempt *attempt, enum thread_kind kind)
{
    char expected[100];
    struct outcome outcome = run_child(
        (struct child){.kind = kind, .act = attempt->act, .own_thread = has_own_thread(kind)});
    snprintf(expected, sizeof(expected), "nacre: jail: a %s thread made the forbidden call %s (",
             thread_kind_name(kind), attempt->name);
    if (exit_code(&outcome) != EXIT_JAILED || !strstr(outcome.text, expected))
        fail_msg("%s on a %s thread: exit code %d, \"%s\"", attempt->name, thread_kind_name(kind),
                 exit_code(&outcome), outcome.text);
    assert_ptr_equal(strchr(outcome.text, '\n'), outcome.text + strlen(outcome.text) - 1);
}

static void forbidden_calls_stop_the_process(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(attempts); i++)
        for (unsigned kind = 0; kind < THREAD_KIND_COUNT; kind++)
            if (attempts[i].kinds & 1u << kind)
                check_stopped(&attempts[i], (enum thread_kind)kind);
}

/* --- what stays possible --- */

static void do_ordinary_work(void)
{
    char *pieces[64];
    for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
        pieces[i] = malloc((size_t)1 << (i % 24));
        memset(pieces[i], 1, (size_t)1 << (i % 24));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
        pieces[i] = realloc(pieces[i], (size_t)1 << (24 - i % 24));
        if (!pieces[i])
            _exit(EXIT_ESCAPED);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++)
        free(pieces[i]);
    time_t now = time(NULL);
    struct tm fields;
    localtime_r(&now, &fields);
    fprintf(stderr, "worked\n");
}

static void ordinary_work_goes_on(void **state)
{
    for (unsigned kind = 0; kind < THREAD_KIND_COUNT; kind++) {
        struct outcome outcome =
            run_child((struct child){.kind = (enum thread_kind)kind,
                                     .act = do_ordinary_work,
                                     .own_thread = has_own_thread((enum thread_kind)kind)});
        assert_string_equal(outcome.text, "worked\n");
        assert_int_equal(exit_code(&outcome), EXIT_SUCCESS);
    }
}

static void crash(void)
{
    abort();
}

static void crash_keeps_its_signal(void **state)
{
    struct outcome outcome =
        run_child((struct child){.kind = THREAD_VCPU, .act = crash, .own_thread = true});
    assert_string_equal(outcome.text, "");
    assert_int_equal(exit_code(&outcome), -SIGABRT);
}

/* --- jail log --- */

static void open_for_real(void)
{
    int fd = open("/etc/passwd", O_RDONLY);
    fprintf(stderr, "opened %d\n", fd >= 0);
    errno = 0;
    fd = open("/no/such/file", O_RDONLY);
    fprintf(stderr, "errno %d\n", fd < 0 ? errno : 0);
}

static void log_mode_tells_and_goes_on(void **state)
{
    char expected[32];
    struct outcome outcome = run_child((struct child){
        .mode = JAIL_LOG, .kind = THREAD_VCPU, .act = open_for_real, .own_thread = true});
    snprintf(expected, sizeof(expected), "errno %d\n", ENOENT);
    assert_int_equal(exit_code(&outcome), EXIT_SUCCESS);
    assert_non_null(strstr(outcome.text, "forbidden call openat"));
    assert_non_null(strstr(outcome.text, "opened 1\n"));
    assert_non_null(strstr(outcome.text, expected));
}

static void log_mode_makes_no_processes(void **state)
{
    struct outcome outcome =
        run_child((struct child){.mode = JAIL_LOG, .kind = THREAD_VCPU, .act = try_fork});
    assert_int_equal(exit_code(&outcome), EXIT_JAILED);
}

/* --- the rest of the jail --- */

static void modes_are_parsed(void **state)
{
    enum jail_mode mode = JAIL_LOG;
    struct error error = {0};
    assert_int_equal(jail_mode_parse("on", &mode, &error), 0);
    assert_int_equal(mode, JAIL_ON);
    assert_int_equal(jail_mode_parse("log", &mode, &error), 0);
    assert_int_equal(mode, JAIL_LOG);
    assert_int_equal(jail_mode_parse("off", &mode, &error), 0);
    assert_int_equal(mode, JAIL_OFF);
    assert_int_equal(jail_mode_parse("", &mode, &error), -EINVAL);
    assert_non_null(strstr(error.message, "--jail"));
}

/* Different system calls that threads of these kinds (bits) may make between them. */
static unsigned count_calls(unsigned kinds, unsigned needs)
{
    unsigned count = 0;
    for (int number = 0; number < 512; number++) {
        bool allowed = false;
        for (unsigned kind = 0; kind < THREAD_KIND_COUNT; kind++)
            allowed |= (kinds & 1u << kind) && jail_allows(number, (enum thread_kind)kind, needs);
        count += allowed;
    }
    return count;
}

static void few_calls_in_all(void **state)
{
    const unsigned net = 1u << THREAD_NET, view = 1u << THREAD_VIEW;
    const unsigned machine = EVERY & ~net & ~view;
    for (unsigned i = 0; i < jail_rule_count; i++)
        assert_true(strlen(jail_rules[i].reason) > 0);
    printf("machine %u, with a unix server %u, with a client %u, network %u, view %u\n",
           count_calls(machine, 0), count_calls(machine, JAIL_NEED_UNIX_SERVER),
           count_calls(machine, JAIL_NEED_UNIX_CLIENT), count_calls(net, 0), count_calls(view, 0));
    assert_in_range(count_calls(machine, 0), 1, JAIL_CALLS_MAX);
    assert_in_range(count_calls(machine, JAIL_NEED_UNIX_SERVER), 1, JAIL_CALLS_MAX);
    assert_in_range(count_calls(machine, JAIL_NEED_UNIX_CLIENT), 1, JAIL_CALLS_MAX);
    assert_in_range(count_calls(machine, JAIL_NEED_SNAPSHOT | JAIL_NEED_CONTROL), 1,
                    JAIL_CALLS_MAX);
    assert_in_range(count_calls(net, 0), 1, JAIL_CALLS_MAX);
    assert_in_range(count_calls(view, 0), 1, JAIL_CALLS_MAX);
}

/* A rule's line in docs/security.md. */
static void format_rule(const struct jail_rule *rule, char *line, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, rule->number);
    char kinds[64] = "";
    for (unsigned kind = 0; kind < THREAD_KIND_COUNT; kind++)
        if (rule->kinds & 1u << kind)
            snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%s%s",
                     kinds[0] ? " " : "", thread_kind_name((enum thread_kind)kind));
    snprintf(line, size, "| `%s`%s | %s | %s |\n", name, rule->needs ? " (if configured)" : "",
             kinds, rule->reason);
    free(name);
}

static void format_refusal(const struct jail_refusal *refusal, char *line, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, refusal->number);
    snprintf(line, size, "| `%s` | %s | %s |\n", name, strerrorname_np(refusal->code),
             refusal->reason);
    free(name);
}

static void the_manual_lists_every_rule(void **state)
{
    static char text[100000];
    char line[300];
    FILE *file = fopen(SECURITY_MANUAL, "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    for (unsigned i = 0; i < jail_rule_count + jail_refusal_count; i++) {
        if (i < jail_rule_count)
            format_rule(&jail_rules[i], line, sizeof(line));
        else
            format_refusal(&jail_refusals[i - jail_rule_count], line, sizeof(line));
        if (!strstr(text, line))
            fail_msg("docs/security.md lacks this line: %s", line);
    }
}

/* Runs check() in a child: what it changes is for good. */
static void check_in_child(void (*check)(void))
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        check();
        _exit(EXIT_SUCCESS);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
}

static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "wrong: %s\n", what);
    _exit(EXIT_ESCAPED);
}

static void check_landlock(void)
{
    const char *missing;
    int version = jail_landlock_version(&missing);
    int open_before = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char byte;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    expect(landlock_enter(false, NULL, 0) == 0, "entering Landlock");
    if (!version)
        return;
    errno = 0;
    expect(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES, "a file cannot be read");
    expect(open("/tmp", O_RDONLY | O_DIRECTORY) < 0, "a directory cannot be read");
    expect(open("/tmp/nacre-jail-test", O_WRONLY | O_CREAT, 0600) < 0, "a file cannot be made");
    expect(open_before < 0 || read(open_before, &byte, 1) >= 0, "what was open can be read");
    errno = 0;
    expect(connect(tcp, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
               (version < 4 || errno == EACCES),
           "TCP connections cannot be made");
}

static void landlock_closes_the_file_system(void **state)
{
    check_in_child(check_landlock);
}

static void check_privileges(void)
{
    struct error error = {0};
    struct rlimit limit;
    char line[200];
    expect(privileges_limit(&error) == 0 && privileges_drop() == 0, error.message);
    expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no new privileges");
    expect(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0, "no core dumps");
    FILE *status = fopen("/proc/self/status", "re");
    expect(status != NULL, "/proc/self/status");
    while (fgets(line, sizeof(line), status))
        if (!strncmp(line, "CapEff:", 7) || !strncmp(line, "CapPrm:", 7))
            expect(strtoull(line + 7, NULL, 16) == 0, "no capabilities");
    fclose(status);
}

static void privileges_are_given_up(void **state)
{
    check_in_child(check_privileges);
}

static void check_strangers(void)
{
    int inherited = dup(STDERR_FILENO), ours = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    struct rlimit limit;
    expect(inherited > 2 && ours > 2, "two descriptors");
    jail_close_strangers();
    expect(fcntl(inherited, F_GETFD) < 0, "what was inherited is closed");
    expect(fcntl(ours, F_GETFD) >= 0, "ours stays open");
    expect(fcntl(STDERR_FILENO, F_GETFD) >= 0, "standard error stays open");
    expect(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max <= 256, "few descriptors");
}

static void inherited_descriptors_are_closed(void **state)
{
    check_in_child(check_strangers);
}

/* In processor time: other work on the host must not fail the test. */
static void check_cost(void)
{
    const struct jail_config config = {.mode = JAIL_ON, .exit_code = EXIT_JAILED};
    struct error error = {0};
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    thread_enter(jail_guard(jail_create(&config, &error)), THREAD_LOOP);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double milliseconds =
        (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
    printf("the jail costs %.2f ms at start\n", milliseconds);
    fflush(stdout);
    expect(milliseconds < 5, "the jail costs less than 5 ms");
}

static void start_is_quick(void **state)
{
    check_in_child(check_cost);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes_are_parsed),
        cmocka_unit_test(few_calls_in_all),
        cmocka_unit_test(the_manual_lists_every_rule),
        cmocka_unit_test(landlock_closes_the_file_system),
        cmocka_unit_test(privileges_are_given_up),
        cmocka_unit_test(inherited_descriptors_are_closed),
        cmocka_unit_test(start_is_quick),
        cmocka_unit_test(forbidden_calls_stop_the_process),
        cmocka_unit_test(ordinary_work_goes_on),
        cmocka_unit_test(crash_keeps_its_signal),
        cmocka_unit_test(log_mode_tells_and_goes_on),
        cmocka_unit_test(log_mode_makes_no_processes),
    };
    /* A sanitizer's run time makes calls of its own: only what needs no filter is tested. */
    unsigned count = jail_supported() ? ARRAY_SIZE(tests) : 6;
    return _cmocka_run_group_tests("jail", tests, count, NULL, NULL);
}
