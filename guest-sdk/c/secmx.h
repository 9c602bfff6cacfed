/* What a policy in C stands on: rulings in one line, settings, texts, the log.
 *
 * A policy defines a function for each question it means to answer (they are declared at the end); what it does not define passes.
 *
 * Methods of wit/ are functions of the generated guest.h, such as secmx_policy_message_method_message_parts; SECMX(message, parts) is
 * that name. Enums are there too, such as SECMX_POLICY_TYPES_LEVEL_HOST. Nothing need be freed: an instance answers one question, or the few
 * that `max_uses` says.
 */
#ifndef SECMX_H
#define SECMX_H

#include "guest.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECMX(resource, method) secmx_policy_##resource##_method_##resource##_##method

typedef guest_string_t secmx_text; /* UTF-8: ptr, len; no NUL at the end */
typedef secmx_policy_types_ruling_t secmx_ruling;
typedef secmx_policy_types_address_t secmx_address; /* NULL is the null reverse-path */
typedef secmx_policy_session_borrow_session_t secmx_session;
typedef secmx_policy_message_borrow_message_t secmx_message;
typedef secmx_policy_destination_borrow_destination_t secmx_destination;
typedef secmx_policy_destination_exchanger_t secmx_exchanger;
typedef struct { secmx_policy_types_parameter_t *ptr; size_t len; } secmx_parameters;

/* A text of a C string, which must live as long. */
secmx_text secmx_from(const char *text);
/* As printf. A text is written with %.*s and SECMX_ARG. */
secmx_text secmx_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SECMX_ARG(text) (int)(text).len, (const char *)(text).ptr
/* Whether it is in there, with letters of ASCII taken as equal in both cases. */
bool secmx_has(secmx_text text, const char *other);
/* Compare octets. */
bool secmx_is(secmx_text text, const char *other);
bool secmx_starts(secmx_text text, const char *other);
bool secmx_ends(secmx_text text, const char *other);

/* No opinion: the next policy is asked. */
secmx_ruling secmx_pass(void);
/* Yes, and no later policy of this interface is asked. */
secmx_ruling secmx_accept(const char *code, secmx_text text);
/* Taken, kept for a person, not delivered. */
secmx_ruling secmx_quarantine(const char *code, secmx_text text);
/* Taken and dropped; always logged. */
secmx_ruling secmx_discard(const char *code, secmx_text text);
/* A 5yz reply, such as secmx_reject(550, 5, 7, 1, secmx_from("not here"), "rule.name"). The text goes to the client. */
secmx_ruling secmx_reject(uint16_t number, uint8_t kind, uint16_t subject, uint16_t detail, secmx_text text, const char *code);
/* A 4yz reply. The text goes to the client. */
secmx_ruling secmx_defer(uint16_t number, uint8_t kind, uint16_t subject, uint16_t detail, secmx_text text, const char *code);

/* The first thing wrong with the settings, else NULL. A shape is a list of "name:type", the type one of text, number, flag, texts; with a
 * question mark when it need not be given: "refuse:texts text:text?". */
const char *secmx_settings(const char *shape);
/* A setting as a C string, or what stands in for it. */
const char *secmx_setting(const char *name, const char *otherwise);
/* The members of a list, one after the other from 0 on, then NULL. */
const char *secmx_member(const char *name, size_t at);

/* Lines in the log: as printf. */
void secmx_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void secmx_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void secmx_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Adds to a counter in the metrics. */
void secmx_count(const char *name, uint64_t by);
/* Whether a list that the configuration names has this member. */
bool secmx_in_list(const char *name, secmx_text value);
/* A small memory of the policy, the same for all messages and after a restart: `store = "1MiB"` in [capabilities] of policy.toml. Whether
 * there is something under a key. */
bool secmx_store_get(const char *key, secmx_text *value);
/* Keeps a value, for so many seconds or, with 0, for good. NULL, or what does not fit. */
const char *secmx_store_set(const char *key, secmx_text value, uint32_t ttl);
/* Adds to a number and gives the sum. NULL, or what does not fit. */
const char *secmx_store_increment(const char *key, int64_t by, uint32_t ttl, int64_t *sum);
/* Asks DNS through the gateway: `dns = ["TXT"]` in [capabilities] of policy.toml. NULL, or "none", "unavailable", "bogus": what is not
 * available is never none. */
typedef secmx_policy_dns_answer_t secmx_answer; /* values.ptr, values.len, secure */
const char *secmx_look_up(const char *name, const char *kind, secmx_answer *answer);
/* Says so in the log, with file and line, and ends the question: the message waits. */
#define SECMX_FAULT(...) (secmx_warn(__VA_ARGS__), secmx_warn("at %s (%s:%d)", __func__, SECMX_FILE, __LINE__), __builtin_trap())
#define SECMX_FILE (__builtin_strrchr(__FILE__, '/') ? __builtin_strrchr(__FILE__, '/') + 1 : __FILE__)

/* The questions. `check`: NULL, or what is wrong with the settings. */
const char *secmx_check(void);
secmx_ruling secmx_greet(secmx_session session);
secmx_ruling secmx_mail(secmx_session session, const secmx_address *reverse_path, secmx_parameters parameters);
secmx_ruling secmx_recipient(secmx_session session, const secmx_address *reverse_path, const secmx_address *forward_path,
                             secmx_parameters parameters);
secmx_ruling secmx_inspect(secmx_session session, secmx_message message);
secmx_ruling secmx_route(secmx_destination destination);
secmx_ruling secmx_admit(secmx_destination destination, const secmx_exchanger *exchanger);

#endif
