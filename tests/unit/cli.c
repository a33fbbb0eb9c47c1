/* SPDX-License-Identifier: Apache-2.0 */
/* The command line against its table, and how a move is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/move.h"
#include "cli/output.h"

static const struct gw_flag flags[] = {
        {"count", GW_FLAG_INT, "N", "how many", 1, 10, .unit = "pieces", .fallback = "3"},
        {"kind", GW_FLAG_CHOICE, "KIND", "which", .choices = "hot cold colder"},
        {"ip", GW_FLAG_IP, "IP", "address", .repeat = true},
        {"mac", GW_FLAG_MAC, "MAC", "address"},
        {"net", GW_FLAG_PREFIX, "PREFIX", "subnet"},
        {"at", GW_FLAG_ENDPOINT, "AT", "where"},
        {"name", GW_FLAG_NAME, "NAME", "name"},
        {"vn", GW_FLAG_ID, "VN", "id"},
        {"file", GW_FLAG_PATH, "FILE", "file"},
        {"on", GW_FLAG_SWITCH, .help = "switch"},
        {0},
};
static const struct gw_flag strict_flags[] = {
        {"to", GW_FLAG_NAME, "NVE", "where to", .required = true},
        {0},
};
static const struct gw_command command = {"thing", "do", "[NAME]", 0, 1, "does it", flags, NULL};
static const struct gw_command strict = {"thing", "move", "NAME", 1, 1, "moves it", strict_flags, NULL};
static const struct gw_command runner = {"thing", "run", "HOST", 1, 1, "runs it", NULL, NULL, .rest = true};

enum { WORDS_MAX = 16 };

/* Splits at spaces; "" gives no words. */
static int parse(const struct gw_command *c, const char *line, struct gw_args *args, struct gw_error *error) {
        static char text[512];
        static char *argv[WORDS_MAX];
        int argc = 0;

        snprintf(text, sizeof text, "%s", line);
        for (char *word = strtok(text, " "); word && argc < WORDS_MAX - 1; word = strtok(NULL, " "))
                argv[argc++] = word;
        argv[argc] = NULL;
        return gw_args_parse(args, c, argc, argv, error);
}

static void test_values(void **state) {
        struct gw_args args;

        (void)state;
        assert_int_equal(parse(&command, "--ip 10.0.0.1 it --count=7 --ip fd00::1 --on --kind cold", &args, NULL), 0);
        assert_int_equal(args.n_words, 1);
        assert_string_equal(args.words[0], "it");
        assert_int_equal(gw_args_int(&args, "count"), 7);
        assert_int_equal(gw_args_count(&args, "ip"), 2);
        assert_string_equal(gw_args_nth(&args, "ip", 1), "fd00::1");
        assert_null(gw_args_nth(&args, "ip", 2));
        assert_true(gw_args_has(&args, "on"));
        assert_string_equal(gw_args_text(&args, "kind"), "cold");
        gw_args_deinit(&args);

        assert_int_equal(parse(&command, "", &args, NULL), 0);
        assert_int_equal(gw_args_int(&args, "count"), 3);
        assert_false(gw_args_has(&args, "count"));
        assert_null(gw_args_text(&args, "kind"));
        gw_args_deinit(&args);
}

/* Each refused with a text that names the flag, the value, and what is allowed. */
static void test_refusals(void **state) {
        static const struct {
                const struct gw_command *command;
                const char *line, *texts[3];
        } rows[] = {
                {&command, "--count 0", {"--count", "\"0\"", "from 1 to 10, in pieces"}},
                {&command, "--count 11", {"--count", "\"11\"", "from 1 to 10"}},
                {&command, "--count 5x", {"--count", "\"5x\"", "whole number"}},
                {&command, "--count 99999999999999999999", {"--count", "99999999999999999999", "whole number"}},
                {&command, "--count", {"--count", "needs a value", "N"}},
                {&command, "--count 1 --count 2", {"--count", "twice", "once"}},
                {&command, "--kind col", {"--kind", "\"col\"", "hot cold colder"}},
                {&command, "--kind", {"--kind", "needs a value", "KIND"}},
                {&command, "--ip 10.0.0", {"--ip", "\"10.0.0\"", "IPv4 or IPv6"}},
                {&command, "--mac 52:54", {"--mac", "\"52:54\"", "52:54:00:12:34:56"}},
                {&command, "--net 10.1.0.1/24", {"--net", "10.1.0.1/24", "without host bits"}},
                {&command, "--at 10.1.0.1", {"--at", "10.1.0.1", "address:port"}},
                {&command, "--name A_b", {"--name", "A_b", "a-z"}},
                {&command, "--vn x@", {"--vn", "x@", "name@tenant"}},
                {&command, "--on=yes", {"--on", "yes", "no value"}},
                {&command, "--nope", {"--nope", "unknown", "godwit help thing do"}},
                {&command, "-x", {"unknown flag -x", "godwit help", "thing do"}},
                {&command, "one two", {"two", "too many", "[NAME]"}},
                {&command, "-- ls", {"--", "usage", "thing do"}},
                {&strict, "", {"NAME", "missing", "thing move"}},
                {&strict, "web", {"--to", "missing", "where to"}},
        };
        struct gw_args args;

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct gw_error error = {0};

                assert_int_equal(parse(rows[i].command, rows[i].line, &args, &error) != 0, 1);
                for (size_t j = 0; j < 3; j++)
                        if (!strstr(error.text, rows[i].texts[j]))
                                fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].line, error.text, rows[i].texts[j]);
        }
}

static void test_rest_and_paths(void **state) {
        struct gw_args args;

        (void)state;
        assert_int_equal(parse(&runner, "h1 -- ls --all", &args, NULL), 0);
        assert_string_equal(args.rest[0], "ls");
        assert_string_equal(args.rest[1], "--all");
        gw_args_deinit(&args);
        assert_int_equal(parse(&command, "--file here", &args, NULL), 0);
        assert_int_equal(*gw_args_text(&args, "file"), '/');
        gw_args_deinit(&args);
        assert_int_equal(parse(&command, "--file /there", &args, NULL), 0);
        assert_string_equal(gw_args_text(&args, "file"), "/there");
        gw_args_deinit(&args);
        assert_int_equal(parse(&strict, "--help", &args, NULL), 0); /* help needs nothing else */
        gw_args_deinit(&args);
}

/* Flags of every command may stand before noun and verb; the words keep their order. */
static void test_words_first(void **state) {
        static const struct {
                const char *given, *wanted;
        } rows[] = {
                {"--json --lab t1 nve list", "nve list --json --lab t1"},
                {"nve --lab=t1 list --json", "nve list --lab=t1 --json"},
                {"--lab t1 vm create web --vn blue", "vm create --lab t1 web --vn blue"},
                {"vm create web --json", "vm create web --json"},
                {"--lab t1 status", "status --lab t1"},
                {"--lab", "--lab"},
                {"--nope vm list", "--nope vm list"},
                {"--json --nope vm list", "--json --nope vm list"},
                {"probe --rate 5 10.0.0.1", "probe --rate 5 10.0.0.1"},
                {"lab exec h1 -- ls --json", "lab exec h1 -- ls --json"},
                {"--lab t1 -- ls", "--lab t1 -- ls"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                char text[128], joined[128] = "", *argv[WORDS_MAX];
                int argc = 0;

                snprintf(text, sizeof text, "%s", rows[i].given);
                for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
                        argv[argc++] = word;
                gw_args_words_first(argc, argv);
                for (int k = 0; k < argc; k++)
                        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", k ? " " : "",
                                 argv[k]);
                assert_string_equal(joined, rows[i].wanted);
        }
}

static void test_segments(void **state) {
        char out[64], tight[5];

        (void)state;
        assert_string_equal(gw_client_segment("web@default", out, sizeof out), "web@default");
        assert_string_equal(gw_client_segment("a/b?c d", out, sizeof out), "a%2Fb%3Fc%20d");
        assert_true(strlen(gw_client_segment("abcdefgh", tight, sizeof tight)) < sizeof tight);
}

static void test_octets(void **state) {
        char out[32];

        (void)state;
        assert_string_equal(gw_octets_text(0, out), "0 B");
        assert_string_equal(gw_octets_text(1023, out), "1023 B");
        assert_string_equal(gw_octets_text(1536, out), "1.5 KiB");
        assert_string_equal(gw_octets_text(128.0 * 1024 * 1024, out), "128.0 MiB");
}

static char *draw(const char *json, void (*how)(const struct gw_cli *, const json_t *, FILE *)) {
        static char text[8192];
        struct gw_cli cli = {0};
        json_t *move = json_loads(json, 0, NULL);
        FILE *out = fmemopen(text, sizeof text, "w");

        assert_non_null(move);
        assert_non_null(out);
        how(&cli, move, out);
        fclose(out);
        json_decref(move);
        return text;
}

static void test_timeline(void **state) {
        static const char moved[] =
                "{\"id\": \"m1\", \"vm\": \"web@default\", \"from\": \"h1\", \"to\": \"h2\", \"phase\": \"done\", "
                "\"result\": \"ok\", \"timeline\": [{\"phase\": \"copy\", \"at_ns\": 1000000000}, {\"phase\": \"cut\", "
                "\"at_ns\": 1090000000}, {\"phase\": \"done\", \"at_ns\": 1100000000}], \"evidence\": {\"stopped_ns\": "
                "1088000000, \"resumed_ns\": 1093500000, \"drained\": 12}}";
        static const char failed[] =
                "{\"id\": \"m2\", \"vm\": \"web@default\", \"from\": \"h1\", \"to\": \"h2\", \"phase\": \"done\", "
                "\"result\": \"failed\", \"reason\": \"h2 went away\", \"place\": \"h1\", \"timeline\": []}";
        static const char empty[] = "{}";
        char *text;

        (void)state;
        text = draw(moved, gw_move_draw);
        assert_non_null(strstr(text, "copy            90.0 ms  ####"));
        assert_non_null(strstr(text, "cut             10.0 ms  "));
        assert_non_null(strstr(text, "VM stopped       5.5 ms"));
        assert_non_null(strstr(text, "12  packets were taken from the stopped VM's queue"));
        text = draw(moved, gw_move_conclude);
        assert_string_equal(text, "moved: web@default runs at h2 now; it stood still for 5.5 ms\n");
        text = draw(failed, gw_move_conclude);
        assert_string_equal(text, "not moved: web@default is at h1: h2 went away\n");
        draw(empty, gw_move_draw);
        draw(empty, gw_move_conclude);
        draw(empty, gw_move_progress_line);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),         cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_rest_and_paths), cmocka_unit_test(test_words_first),
                cmocka_unit_test(test_segments),       cmocka_unit_test(test_octets),
                cmocka_unit_test(test_timeline),
        };

        return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
