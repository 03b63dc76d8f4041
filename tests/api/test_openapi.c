/* SPDX-License-Identifier: Apache-2.0 */
/* docs/openapi.json describes each endpoint of the server, and no other. */
#include "api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const json_t *described(const json_t *paths, const struct endpoint *endpoint)
{
    char path[64], method[8] = "";
    bool whole = *endpoint->path == '/';
    snprintf(path, sizeof(path), "%s%s", whole ? "" : API_PREFIX, endpoint->path);
    for (unsigned i = 0; endpoint->method[i] && i < sizeof(method) - 1; i++)
        method[i] = (char)tolower((unsigned char)endpoint->method[i]);
    return json_object_get(json_object_get(paths, path), method);
}

static void test_each_endpoint_is_described(void **state)
{
    const json_t *paths = json_object_get(*state, "paths");
    for (const struct endpoint *endpoint = api_endpoints; endpoint->method; endpoint++) {
        const json_t *operation = described(paths, endpoint);
        if (!operation)
            fail_msg("docs/openapi.json lacks %s %s", endpoint->method, endpoint->path);
        const json_t *responses = json_object_get(operation, "responses");
        assert_true(json_object_get(responses, "200") || json_object_get(responses, "204"));
        assert_int_equal(json_object_get(operation, "requestBody") != NULL, endpoint->takes_body);
    }
}

static void test_nothing_else_is_described(void **state)
{
    json_t *paths = json_object_get(*state, "paths"), *methods;
    const char *path;
    size_t described_count = 0, served = 0;
    json_object_foreach(paths, path, methods)
    {
        described_count += json_object_size(methods);
    }
    while (api_endpoints[served].method)
        served++;
    assert_int_equal(described_count, served);
}

/* Every "$ref" leads to a schema. */
static void check_references(const json_t *document, json_t *value)
{
    static const char prefix[] = "#/components/schemas/";
    const json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    const char *key, *target = json_string_value(json_object_get(value, "$ref"));
    json_t *child;
    size_t index;
    if (target) {
        assert_memory_equal(target, prefix, strlen(prefix));
        assert_non_null(json_object_get(schemas, target + strlen(prefix)));
    }
    json_object_foreach(value, key, child)
    {
        check_references(document, child);
    }
    json_array_foreach(value, index, child)
    {
        check_references(document, child);
    }
}

static void test_references_lead_somewhere(void **state)
{
    check_references(*state, *state);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_endpoint_is_described),
        cmocka_unit_test(test_nothing_else_is_described),
        cmocka_unit_test(test_references_lead_somewhere),
    };
    json_t *document = argc > 1 ? json_load_file(argv[1], JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!document) {
        fprintf(stderr, "usage: test-api-openapi docs/openapi.json\n");
        return 2;
    }
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tests[i].initial_state = document;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(document);
    return failed;
}
