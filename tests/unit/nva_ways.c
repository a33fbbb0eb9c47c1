/* SPDX-License-Identifier: Apache-2.0 */
/* What the authority reads of how a move shall be made, hands from one agent to the other, and keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/error.h"
#include "io/api.h"
#include "nva/mover.h"

static bool read_ways(const char *text, enum gw_move_mode *mode, struct nva_ways *out, struct gw_error *error) {
        json_t *object = json_loads(text, 0, NULL);
        struct gw_json_reader r = gw_json_reader(object, error);
        bool given;

        assert_non_null(object);
        *error = (struct gw_error){0};
        *mode = GW_MOVE_HOT;
        *out = (struct nva_ways){0};
        given = ways_read(&r, mode, out);
        gw_json_done(&r);
        json_decref(object);
        return given;
}

static void modes_are_read(void **state) {
        static const struct {
                const char *text;
                enum gw_move_mode mode;
                bool given, cold, post_copy;
        } cases[] = {
                {"{}", GW_MOVE_HOT, false, false, false},
                {"{\"xbzrle\": true}", GW_MOVE_HOT, false, false, false},
                {"{\"mode\": \"hot\"}", GW_MOVE_HOT, true, false, false},
                {"{\"mode\": \"cold\"}", GW_MOVE_COLD, true, true, false},
                {"{\"mode\": \"post-copy\"}", GW_MOVE_POST_COPY, true, false, true},
                {"{\"cold\": true}", GW_MOVE_COLD, true, true, false},
                {"{\"post_copy\": true}", GW_MOVE_POST_COPY, true, false, true},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                enum gw_move_mode mode;
                struct gw_error error;
                struct nva_ways ways;

                assert_int_equal(read_ways(cases[i].text, &mode, &ways, &error), cases[i].given);
                assert_int_equal(error.code, 0);
                assert_int_equal(mode, cases[i].mode);
                assert_int_equal(ways.options.cold, cases[i].cold);
                assert_int_equal(ways.options.post_copy, cases[i].post_copy);
        }
}

static void what_makes_no_sense_is_refused(void **state) {
        static const struct {
                const char *text, *field;
        } cases[] = {
                {"{\"mode\": \"warm\"}", "mode"},
                {"{\"mode\": 3}", "mode"},
                {"{\"mode\": \"post-copy\", \"multifd\": 2}", "multifd"},
                {"{\"mode\": \"cold\", \"post_copy\": true}", "mode"},
                {"{\"mode\": \"cold\", \"stay\": true, \"cold\": true}", "stay"}, /* not for people to say */
                {"{\"keep_disks\": \"yes\"}", "keep_disks"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                enum gw_move_mode mode;
                struct gw_error error;
                struct nva_ways ways;

                read_ways(cases[i].text, &mode, &ways, &error);
                assert_int_not_equal(error.code, 0);
                assert_string_equal(error.field, cases[i].field);
        }
}

static void learn(struct nva_move *move, enum gw_move_order order, const char *text) {
        json_t *answer = json_loads(text, 0, NULL);

        assert_non_null(answer);
        ways_learn(move, order, answer);
        json_decref(answer);
}

static json_t *told(const struct nva_move *move, enum gw_move_order order) {
        json_t *body = json_object();

        ways_tell(move, order, body);
        return body;
}

/* Only known members, and of bounded number, get from one agent to the other. */
static void one_agent_hears_what_the_other_said(void **state) {
        struct nva_move move = {.core.from.s = "h1", .core.to.s = "h2", .ways.options.cold = true};
        json_t *body, *disks = json_array();
        json_t *survey;

        (void)state;
        for (int i = 0; i < 40; i++)
                json_array_append_new(disks, json_pack("{s:i, s:s, s:s}", "disk", i, "format", "raw", "evil", "x"));
        survey = json_pack("{s:o}", "disks", disks);
        ways_learn(&move, GW_ORDER_SURVEY, survey);
        json_decref(survey);
        body = told(&move, GW_ORDER_INCOMING);
        assert_string_equal(json_string_value(json_object_get(body, "source")), "h1");
        assert_true(json_is_true(json_object_get(json_object_get(body, "options"), "cold")));
        disks = json_object_get(body, "disks");
        assert_in_range(json_array_size(disks), 1, 16);
        assert_null(json_object_get(json_array_get(disks, 0), "evil"));
        json_decref(body);

        learn(&move, GW_ORDER_INCOMING,
              "{\"address\": \"10.0.0.2\", \"tls\": true, \"disks\": 3, \"nbd_port\": 49153, \"evil\": 1}");
        learn(&move, GW_ORDER_MIGRATE, "{\"tls\": false}"); /* that one has nothing to say */
        body = told(&move, GW_ORDER_MIGRATE);
        assert_string_equal(json_string_value(json_object_get(body, "target")), "h2");
        assert_true(json_is_true(json_object_get(body, "tls")));
        assert_int_equal(json_integer_value(json_object_get(body, "nbd_port")), 49153);
        assert_null(json_object_get(body, "evil"));
        assert_null(json_object_get(body, "keep_disks"));
        json_decref(body);
        body = told(&move, GW_ORDER_FINISH);
        assert_int_equal(json_object_size(body), 0);
        json_decref(body);
        ways_deinit(&move.ways);
}

static void ways_survive_the_journal(void **state) {
        struct nva_move move = {.ways = {.options = {.cold = true, .stay = true}, .keep_disks = true}};
        struct nva_ways again = {0};
        json_t *journal = json_object(), *second = json_object();

        (void)state;
        learn(&move, GW_ORDER_INCOMING, "{\"tls\": true, \"disks\": 1, \"nbd_port\": 5}");
        learn(&move, GW_ORDER_SURVEY, "{\"disks\": [{\"disk\": 0, \"allocated_octets\": 7}]}");
        ways_write(&move.ways, journal);
        ways_load(&again, journal);
        ways_write(&again, second);
        assert_true(json_equal(journal, second));
        assert_true(again.options.stay && again.keep_disks);
        json_decref(journal);
        json_decref(second);
        ways_deinit(&move.ways);
        ways_deinit(&again);
        /* One that was written before there were any. */
        journal = json_object();
        again = (struct nva_ways){0};
        ways_load(&again, journal);
        assert_true(!again.options.cold && !again.landing && !again.disks);
        json_decref(journal);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(modes_are_read),
                cmocka_unit_test(what_makes_no_sense_is_refused),
                cmocka_unit_test(one_agent_hears_what_the_other_said),
                cmocka_unit_test(ways_survive_the_journal),
        };

        return cmocka_run_group_tests_name("nva_ways", tests, NULL, NULL);
}
