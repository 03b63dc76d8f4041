/* SPDX-License-Identifier: Apache-2.0 */
/* What may follow --net. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/net.h"
#include "net/user_settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static void cards_and_kinds_settings_are_told_apart(void **state)
{
    struct net_options options;
    struct error error = {0};
    const uint8_t mac[] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
    assert_int_equal(net_options_parse(&options,
                                       "tap=tap7,pcap=/tmp/a,mac=52:54:00:ab:cd:EF,bridge=br0,"
                                       "queues=4,bytes=10M",
                                       2, &error),
                     0);
    assert_string_equal(options.kind->name, "tap");
    assert_string_equal(options.settings, "name=tap7,bridge=br0");
    assert_string_equal(options.pcap, "/tmp/a");
    assert_memory_equal(options.mac, mac, sizeof(mac));
    assert_int_equal(options.queue_pairs, 4);
    assert_int_equal(options.limit.bytes, MIB(10));
    net_options_free(&options);
}

static void addresses_stay_or_differ(void **state)
{
    struct net_options first, second;
    net_options_parse(&first, "user", 1, NULL);
    net_options_parse(&second, "user", 1, NULL);
    assert_memory_equal(first.mac, second.mac, MAC_SIZE);
    assert_null(first.settings);
    net_options_free(&first);
    net_options_free(&second);
    net_options_parse(&first, "switch=lan", 1, NULL);
    net_options_parse(&second, "switch=lan", 1, NULL);
    assert_memory_not_equal(first.mac, second.mac, MAC_SIZE);
    assert_int_equal(first.mac[0] & 3, 2); /* a station's, made up */
    net_options_free(&first);
    net_options_free(&second);
}

static void wrong_words_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "vde",
        "user,mac=52:54:00:ab:cd",
        "user,mac=53:54:00:ab:cd:ef",
        "user,mac=52:54:00:ab:cd:ef:00",
        "user,queues=0",
        "user,queues=9",
        "user,bytes=fast",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct net_options options;
        struct error error = {0};
        assert_int_equal(net_options_parse(&options, bad[i], 0, &error), -EINVAL);
        net_options_free(&options);
    }
}

static int parse_user(struct user_settings *settings, const char *text)
{
    static char copy[256];
    struct error error = {0};
    snprintf(copy, sizeof(copy), "%s", text);
    return user_settings_parse(settings, copy, &error);
}

static void user_settings_are_read(void **state)
{
    struct user_settings settings;
    assert_int_equal(parse_user(&settings,
                                "hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-10.1.2.9:5353,"
                                "restrict=on,network=10.1.2.0/24,hostname=box,domain=example.org"),
                     0);
    assert_true(settings.restricted);
    assert_string_equal(settings.hostname, "box");
    assert_string_equal(settings.domain, "example.org");
    assert_int_equal(settings.gateway.s_addr, inet_addr("10.1.2.2"));
    assert_int_equal(settings.dns.s_addr, inet_addr("10.1.2.3"));
    assert_int_equal(settings.dhcp.s_addr, inet_addr("10.1.2.15"));
    assert_int_equal(settings.forward_count, 2);
    assert_int_equal(settings.forwards[0].host.s_addr, inet_addr("127.0.0.1"));
    assert_int_equal(settings.forwards[0].host_port, 2222);
    assert_int_equal(settings.forwards[0].guest.s_addr, INADDR_ANY);
    assert_int_equal(settings.forwards[0].guest_port, 22);
    assert_true(settings.forwards[1].udp);
    assert_int_equal(settings.forwards[1].host.s_addr, INADDR_ANY);
    assert_int_equal(settings.forwards[1].guest.s_addr, inet_addr("10.1.2.9"));
    assert_int_equal(parse_user(&settings, "dns=192.0.2.53"), 0);
    assert_int_equal(settings.dns.s_addr, inet_addr("192.0.2.53"));
}

static void wrong_user_settings_are_refused(void **state)
{
    static const char *const bad[] = {
        "hostfwd=tcp",         "hostfwd=sctp::1-:1", "hostfwd=tcp::1-:65536",
        "hostfwd=tcp:x:1-:1",  "hostfwd=tcp::-1-:1", "hostfwd=tcp::1",
        "hostfwd=tcp::1-:1x",  "restrict=yes",       "network=10.0.0.0",
        "network=10.0.0.0/28", "network=10.0.0.0/7", "network=a/24",
        "dns=localhost",       "what=ever",          "restrict",
    };
    struct user_settings settings;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_user(&settings, bad[i]), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cards_and_kinds_settings_are_told_apart),
        cmocka_unit_test(addresses_stay_or_differ),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(user_settings_are_read),
        cmocka_unit_test(wrong_user_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
