/* SPDX-License-Identifier: Apache-2.0 */
/* Routes, and the reader of bodies with its messages. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/error.h"
#include "io/api.h"
#include "io/request.h"

struct answer {
        int status;
        json_t *body;
        char allow[64];
};

static void on_answer(void *transport, int status, json_t *body) {
        struct answer *answer = transport;

        answer->status = status;
        answer->body = body;
}

static void on_allow(void *transport, const char *methods) {
        struct answer *answer = transport;

        strncpy(answer->allow, methods, sizeof answer->allow - 1);
}

static const struct gw_request_ops ops = {.answer = on_answer, .allow = on_allow};

static void tell(struct gw_request *request, void *user) {
        const char *query = gw_request_query(request, "q");

        gw_request_answer(request, 200,
                          json_pack("{ss ss ss ss*}", "route", user, "vm", gw_request_param(request, "vm"), "none",
                                    gw_request_param(request, "none"), "q", query));
}

static const struct gw_route routes[] = {{"GET", "/v1/vms", tell},         {"POST", "/v1/vms", tell},
                                         {"GET", "/v1/vms/{vm}", tell},    {"POST", "/v1/vms/{vm}/move", tell},
                                         {"DELETE", "/v1/vms/{vm}", tell}, {0}};
static const struct gw_api api = {routes, (void *)(uintptr_t) "x"};

static struct answer ask(const char *method, const char *target) {
        struct answer answer = {0};

        gw_api_dispatch(&api, gw_request_new(&ops, &answer, method, target, "test", NULL));
        return answer;
}

static const char *text_of(const struct answer *answer, const char *key) {
        return json_string_value(json_object_get(answer->body, key));
}

static void routes_are_found(void **state) {
        static const struct {
                const char *method, *target;
                int status;
                const char *vm, *q, *allow;
        } cases[] = {
                {"GET", "/v1/vms", 200, "", NULL, ""},
                {"GET", "/v1/vms?q=a+b%26c&&x", 200, "", "a b&c", ""},
                {"GET", "/v1/vms/web%40default", 200, "web@default", NULL, ""},
                {"GET", "/v1/vms/a%2Fb", 200, "a/b", NULL, ""},
                {"POST", "/v1/vms/a+b/move?q", 200, "a+b", "", ""},
                {"PUT", "/v1/vms/web", 405, NULL, NULL, "GET, DELETE"},
                {"PUT", "/v1/vms", 405, NULL, NULL, "GET, POST"},
                {"GET", "/v1/vms/", 404, NULL, NULL, ""},
                {"GET", "/v1/vm", 404, NULL, NULL, ""},
                {"GET", "/v1/vms/web/move/x", 404, NULL, NULL, ""},
                {"GET", "/", 404, NULL, NULL, ""},
                {"GET", "v1", 400, NULL, NULL, ""},
                {"GET", "", 400, NULL, NULL, ""},
                {"GET", "/v1/vms/a%00b", 400, NULL, NULL, ""},
                {"GET", "/v1/vms/a%4", 400, NULL, NULL, ""},
                {"GET", "/v1/vms/a%", 400, NULL, NULL, ""},
                {"GET", "/v1/vms?q=%zz", 400, NULL, NULL, ""},
                {"GET", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", 400, NULL, NULL, ""},
                {"GET", "/v1/vms?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17", 400, NULL, NULL, ""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct answer answer = ask(cases[i].method, cases[i].target);

                if (answer.status != cases[i].status)
                        fail_msg("%s %s: %d", cases[i].method, cases[i].target, answer.status);
                if (cases[i].vm)
                        assert_string_equal(text_of(&answer, "vm"), cases[i].vm);
                if (cases[i].q)
                        assert_string_equal(text_of(&answer, "q"), cases[i].q);
                else
                        assert_null(text_of(&answer, "q"));
                assert_string_equal(answer.allow, cases[i].allow);
                json_decref(answer.body);
        }
}

/* Reads a made-up object of every kind of member. */
static int read_all(const char *text, struct gw_error *error) {
        json_t *body = json_loads(text, JSON_DECODE_ANY, NULL), *list, *item;
        struct gw_json_reader r = gw_json_reader(body, error);
        struct gw_ip ips[2], ip;
        struct gw_prefix subnets[2];
        struct gw_name name, id;
        struct gw_mac mac;
        size_t i, n;
        int code;

        gw_json_string(&r, "text", "");
        gw_json_int(&r, "mtu", 576, 9000, 1500);
        gw_json_bool(&r, "force", 0);
        gw_json_name(&r, "name", GW_JSON_NEEDED, &name);
        gw_json_id(&r, "vm", GW_JSON_OPTIONAL, &id);
        gw_json_ip(&r, "locator", GW_JSON_OPTIONAL, &ip);
        gw_json_prefixes(&r, "subnets", subnets, 2, &n);
        list = gw_json_array(&r, "ports");
        json_array_foreach (list, i, item) {
                struct gw_json_reader port = gw_json_reader_at(&r, item, "ports[%zu].", i);

                gw_json_mac(&port, "mac", GW_JSON_NEEDED, &mac);
                gw_json_ips(&port, "addresses", ips, 2, &n);
                gw_json_done(&port);
        }
        code = gw_json_done(&r);
        json_decref(body);
        return code;
}

static void bodies_are_read_field_by_field(void **state) {
        static const struct {
                const char *body, *field, *text;
        } cases[] = {
                {"{\"name\": \"a\"}", "", ""},
                {"{\"name\": \"a\", \"vm\": null, \"ports\": [{\"mac\": \"52:54:00:00:00:01\"}]}", "", ""},
                {"[]", "", "the body must be a JSON object"},
                {"{}", "name", "name is missing; a name is"},
                {"{\"name\": 5}", "name", "name must be a text; a name is"},
                {"{\"name\": \"A\"}", "name", "name is \"A\"; a name is"},
                {"{\"name\": \"a\", \"mtu\": 100}", "mtu", "mtu is 100; allowed are 576 to 9000"},
                {"{\"name\": \"a\", \"mtu\": 1.5}", "mtu", "mtu must be a whole number from 576 to 9000"},
                {"{\"name\": \"a\", \"force\": 1}", "force", "force must be true or false"},
                {"{\"name\": \"a\", \"text\": 1}", "text", "text must be a text"},
                {"{\"name\": \"a\", \"vm\": \"a@b@c\"}", "vm", "vm is \"a@b@c\"; an id is"},
                {"{\"name\": \"a\", \"locator\": \"10.0.0\"}", "locator",
                 "locator is \"10.0.0\"; an IP address looks like"},
                {"{\"name\": \"a\", \"subnets\": [\"10.0.0.1/24\"]}", "subnets",
                 "subnets[0] is \"10.0.0.1/24\"; a prefix"},
                {"{\"name\": \"a\", \"subnets\": [\"::/0\", \"::/0\", \"::/0\"]}", "subnets",
                 "subnets has 3 values; at most 2"},
                {"{\"name\": \"a\", \"ports\": {}}", "ports", "ports must be a list"},
                {"{\"name\": \"a\", \"ports\": [1]}", "ports[0].", "ports[0] must be a JSON object"},
                {"{\"name\": \"a\", \"ports\": [{\"mac\": \"xx\"}]}", "ports[0].mac",
                 "ports[0].mac is \"xx\"; a MAC address looks like 52:54:00:12:34:56"},
                {"{\"name\": \"a\", \"ports\": [{\"mac\": \"52:54:00:00:00:01\", \"addresses\": [7]}]}",
                 "ports[0].addresses", "ports[0].addresses[0] is not a text; an IP address"},
                {"{\"name\": \"a\", \"ports\": [{\"mac\": \"52:54:00:00:00:01\", \"ip\": 7}]}", "ports[0].ip",
                 "ports[0].ip is not known here; known are mac, addresses"},
                {"{\"name\": \"a\", \"mut\": 1500}", "mut", "mut is not known here; known are text, mtu, force"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct gw_error error;
                int code;

                memset(&error, 0xff, sizeof error); /* whoever calls need not clear it */
                code = read_all(cases[i].body, &error);
                assert_int_equal(code, cases[i].text[0] ? GW_E_INVALID : 0);
                if (strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0)
                        fail_msg("%s: \"%s\"", cases[i].body, error.text);
                assert_string_equal(error.field, cases[i].field);
        }
}

static void errors_travel(void **state) {
        struct gw_error error, back;
        json_t *body;

        (void)state;
        for (int code = GW_E_NOT_FOUND; code <= GW_E_MALFORMED; code++) {
                gw_fail(&error, code, "mac", "what is wrong");
                body = gw_api_error_body(&error);
                assert_int_equal(gw_api_error(gw_api_status(code), body, &back), code);
                assert_string_equal(back.field, "mac");
                assert_string_equal(back.text, "what is wrong");
                json_decref(body);
        }
        assert_int_equal(gw_api_error(204, NULL, &back), 0);
        assert_int_equal(gw_api_error(503, NULL, &back), GW_E_AGAIN);
        assert_int_equal(gw_api_error(504, NULL, &back), -ETIMEDOUT);
        body = json_pack("[i]", 1);
        assert_int_equal(gw_api_error(500, body, &back), -EIO);
        json_decref(body);
        gw_fail(&error, GW_E_INVALID, "x", "\xff");
        body = gw_api_error_body(&error);
        assert_non_null(body);
        json_decref(body);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(routes_are_found),
                cmocka_unit_test(bodies_are_read_field_by_field),
                cmocka_unit_test(errors_travel),
        };

        return cmocka_run_group_tests_name("io_api", tests, NULL, NULL);
}
