/* SPDX-License-Identifier: Apache-2.0 */
/* Help and completion, read from the tables of commands. */
#include "cli/command.h"

#include <string.h>

static const struct gw_command *each(const struct gw_cli *cli, size_t *group, size_t *row) {
        while (cli->groups[*group]) {
                const struct gw_command *c = &cli->groups[*group][(*row)++];

                if (c->noun)
                        return c;
                (*group)++;
                *row = 0;
        }
        return NULL;
}

static void print_line(const struct gw_command *c, FILE *out) {
        char line[128];

        snprintf(line, sizeof line, "%s%s%s%s%s", c->noun, *c->verb ? " " : "", c->verb, *c->words ? " " : "",
                 c->words);
        fprintf(out, "  godwit %-34s %s\n", line, c->help);
}

static void print_flags(const struct gw_flag *flags, FILE *out) {
        for (const struct gw_flag *f = flags; f && f->name; f++) {
                char left[64];

                snprintf(left, sizeof left, "--%s%s%s", f->name, f->value ? " " : "", f->value ? f->value : "");
                fprintf(out, "  %-24s %s", left, f->help);
                if (f->choices)
                        fprintf(out, " (one of: %s)", f->choices);
                if (f->type == GW_FLAG_INT)
                        fprintf(out, " (%lld to %lld%s%s)", f->min, f->max, f->unit ? " " : "", f->unit ? f->unit : "");
                if (f->fallback)
                        fprintf(out, " [%s]", f->fallback);
                fprintf(out, "%s%s\n", f->repeat ? "; may be repeated" : "", f->required ? "; required" : "");
        }
}

static void print_exit_codes(FILE *out) {
        fputs("\nExit codes\n"
              "  0  done\n"
              "  1  refused, or it failed; the text says why and what to do\n"
              "  2  the command line is wrong\n"
              "  3  the authority does not answer\n"
              "  4  no such object\n"
              "  5  the move failed; the text says where the VM is now\n"
              "  6  the audit found what contradicts the authority\n",
              out);
}

void gw_help_all(const struct gw_cli *cli, FILE *out) {
        const struct gw_command *c;
        size_t group = 0, row = 0;

        fputs("godwit: moves virtual machines between hosts of an overlay network and loses no packet.\n\n"
              "Usage: godwit NOUN VERB [ARG...] [--flag value...]\n\n"
              "Start here: `godwit lab demo` shows a real VM moving between hosts of a laboratory on this machine.\n\n",
              out);
        while ((c = each(cli, &group, &row)))
                print_line(c, out);
        fputs("\nFlags of every command\n", out);
        print_flags(gw_global_flags, out);
        print_exit_codes(out);
        fputs("\n`godwit help NOUN` tells more about one of them.\n", out);
}

void gw_help_noun(const struct gw_cli *cli, const char *noun, FILE *out) {
        const struct gw_command *c;
        size_t group = 0, row = 0;

        while ((c = each(cli, &group, &row)))
                if (!strcmp(c->noun, noun))
                        print_line(c, out);
        fprintf(out, "\n`godwit help %s VERB` lists the flags.\n", noun);
}

void gw_help_command(const struct gw_command *c, FILE *out) {
        fprintf(out, "Usage: godwit %s%s%s%s%s%s%s\n\n%s\n", c->noun, *c->verb ? " " : "", c->verb,
                *c->words ? " " : "", c->words, c->flags ? " [--flag value...]" : "",
                c->rest ? " -- COMMAND [ARG...]" : "", c->help);
        if (c->flags) {
                fputs("\nFlags\n", out);
                print_flags(c->flags, out);
        }
        fputs("\nFlags of every command\n", out);
        print_flags(gw_global_flags, out);
}

static void complete_flags(const struct gw_flag *flags, FILE *out) {
        for (const struct gw_flag *f = flags; f && f->name; f++)
                fprintf(out, " --%s", f->name);
}

static void complete_verbs(const struct gw_cli *cli, FILE *out) {
        const struct gw_command *c;
        size_t group = 0, row = 0;
        const char *last = "";

        /* Rows of one noun are neighbours in the tables. */
        while ((c = each(cli, &group, &row))) {
                if (strcmp(c->noun, last) != 0)
                        fprintf(out, "%s        %s) words=\"%s", *last ? "\" ;;\n" : "", c->noun, c->verb);
                else
                        fprintf(out, " %s", c->verb);
                last = c->noun;
        }
        fputs("\" ;;\n", out);
}

void gw_completion_bash(const struct gw_cli *cli, FILE *out) {
        const struct gw_command *c;
        size_t group = 0, row = 0;
        const char *last = "";

        fputs("# bash completion of godwit; made by `godwit completion bash`\n_godwit() {\n    local words\n"
              "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"",
              out);
        while ((c = each(cli, &group, &row))) {
                if (strcmp(c->noun, last) != 0)
                        fprintf(out, "%s%s", *last ? " " : "", c->noun);
                last = c->noun;
        }
        fputs("\"\n    elif [ \"${COMP_WORDS[COMP_CWORD]:0:1}\" = - ]; then\n"
              "        case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n",
              out);
        for (group = row = 0; (c = each(cli, &group, &row));) {
                fprintf(out, "        \"%s %s\"*) words=\"", c->noun, c->verb);
                complete_flags(c->flags, out);
                complete_flags(gw_global_flags, out);
                fputs("\" ;;\n", out);
        }
        fputs("        esac\n    elif [ \"$COMP_CWORD\" = 2 ]; then\n        case \"${COMP_WORDS[1]}\" in\n", out);
        complete_verbs(cli, out);
        fputs("        esac\n    fi\n"
              "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
              "}\ncomplete -o default -F _godwit godwit\n",
              out);
}
