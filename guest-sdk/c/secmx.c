/* The small code behind secmx.h: texts, rulings, settings, and the exports that call the policy's functions. */
#include "secmx.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- texts --- */

secmx_text secmx_from(const char *text) {
  return (secmx_text){(uint8_t *)text, strlen(text)};
}

static secmx_text formatted(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  char *octets = malloc((size_t)len + 1);
  if (len < 0 || !octets) abort();
  vsnprintf(octets, (size_t)len + 1, format, arguments);
  return (secmx_text){(uint8_t *)octets, (size_t)len};
}

secmx_text secmx_format(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  secmx_text text = formatted(format, arguments);
  va_end(arguments);
  return text;
}

/* What goes out is freed by the bindings, so every text that goes out is a copy. */
static secmx_text copy(secmx_text text) {
  return secmx_format("%.*s", SECMX_ARG(text));
}

bool secmx_is(secmx_text text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

bool secmx_starts(secmx_text text, const char *other) {
  return text.len >= strlen(other) && memcmp(text.ptr, other, strlen(other)) == 0;
}

bool secmx_ends(secmx_text text, const char *other) {
  size_t len = strlen(other);
  return text.len >= len && memcmp(text.ptr + text.len - len, other, len) == 0;
}

bool secmx_has(secmx_text text, const char *other) {
  size_t len = strlen(other), same = 0;
  for (size_t at = 0; same < len && at + len <= text.len; ++at)
    for (same = 0; same < len && tolower(text.ptr[at + same]) == tolower((unsigned char)other[same]);) ++same;
  return same == len;
}

/* --- rulings --- */

static secmx_policy_types_reason_t reason(const char *code, secmx_text text) {
  return (secmx_policy_types_reason_t){copy(secmx_from(code)), copy(text)};
}

secmx_ruling secmx_pass(void) {
  return (secmx_ruling){.tag = SECMX_POLICY_TYPES_RULING_PASS};
}

secmx_ruling secmx_accept(const char *code, secmx_text text) {
  return (secmx_ruling){.tag = SECMX_POLICY_TYPES_RULING_ACCEPT, .val.accept = reason(code, text)};
}

secmx_ruling secmx_quarantine(const char *code, secmx_text text) {
  return (secmx_ruling){.tag = SECMX_POLICY_TYPES_RULING_QUARANTINE, .val.quarantine = reason(code, text)};
}

secmx_ruling secmx_discard(const char *code, secmx_text text) {
  return (secmx_ruling){.tag = SECMX_POLICY_TYPES_RULING_DISCARD, .val.discard = reason(code, text)};
}

static secmx_ruling refusal(uint8_t tag, uint16_t number, guest_tuple3_u8_u16_u16_t status, secmx_text text, const char *code) {
  secmx_ruling ruling = {.tag = tag};
  ruling.val.reject.f0 = (secmx_policy_types_reply_t){number, status, copy(text)};
  ruling.val.reject.f1 = reason(code, text);
  return ruling;
}

secmx_ruling secmx_reject(uint16_t number, uint8_t kind, uint16_t subject, uint16_t detail, secmx_text text, const char *code) {
  return refusal(SECMX_POLICY_TYPES_RULING_REJECT, number, (guest_tuple3_u8_u16_u16_t){kind, subject, detail}, text, code);
}

secmx_ruling secmx_defer(uint16_t number, uint8_t kind, uint16_t subject, uint16_t detail, secmx_text text, const char *code) {
  return refusal(SECMX_POLICY_TYPES_RULING_DEFER, number, (guest_tuple3_u8_u16_u16_t){kind, subject, detail}, text, code);
}

/* --- settings: an object of JSON that the gateway has parsed before, so that it is well formed --- */

enum kind { TEXT, NUMBER, FLAG, TEXTS, OTHER };
static const char *const KINDS[] = {"text", "number", "flag", "texts"};

struct setting {
  char *name;
  enum kind kind;
  char **values; /* one, or the members of a list, and NULL behind them */
};

static struct setting *known;
static size_t known_len;

static void blank(const char **at) {
  while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r') ++*at;
}

static uint32_t hex(const char *at) {
  char digits[5] = {at[0], at[1], at[2], at[3], 0};
  return (uint32_t)strtoul(digits, NULL, 16);
}

static char *encode(char *to, uint32_t code) {
  if (code < 0x80) return *to++ = (char)code, to;
  if (code < 0x800) return *to++ = (char)(0xc0 | code >> 6), *to++ = (char)(0x80 | (code & 63)), to;
  if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 63));
  }
  *to++ = (char)(0x80 | (code >> 6 & 63));
  *to++ = (char)(0x80 | (code & 63));
  return to;
}

/* A string; `at` is on its first quotation mark and ends behind its last. What is decoded is never longer. */
static char *string(const char **at) {
  char *text = malloc(strlen(*at) + 1), *to = text;
  if (!text) abort();
  for (++*at; **at && **at != '"'; ++*at) {
    if (**at != '\\') {
      *to++ = **at;
      continue;
    }
    static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
    const char *plain = strchr(from, *++*at);
    if (plain && **at) {
      *to++ = into[plain - from];
    } else if (**at == 'u') {
      uint32_t code = hex(*at + 1);
      *at += 4;
      if (code >> 10 == 0x36 && (*at)[1] == '\\') {
        code = 0x10000 + ((code & 0x3ff) << 10) + (hex(*at + 3) & 0x3ff);
        *at += 6;
      }
      to = encode(to, code);
    } else {
      *to++ = **at;
    }
  }
  *to = 0;
  if (**at) ++*at;
  return text;
}

/* Steps over a number, true, false, null, or something in brackets, and gives its text. */
static char *span(const char **at) {
  const char *begin = *at;
  int depth = 0;
  while (**at && (depth || !strchr(",]}", **at))) {
    depth += (**at == '[' || **at == '{') - (**at == ']' || **at == '}');
    if (**at == '"') free(string(at));
    else ++*at;
  }
  size_t len = (size_t)(*at - begin);
  char *text = calloc(len + 1, 1);
  if (!text) abort();
  return memcpy(text, begin, len);
}

static struct setting value(const char **at) {
  struct setting it = {.kind = TEXT, .values = calloc(2, sizeof(char *))};
  size_t len = 0;
  if (**at == '"') {
    it.values[0] = string(at);
  } else if (**at == '[') {
    it.kind = TEXTS;
    for (++*at, blank(at); **at && **at != ']'; blank(at), *at += **at == ',', blank(at)) {
      if (**at != '"') it.kind = OTHER;
      it.values = realloc(it.values, (len + 2) * sizeof(char *));
      it.values[len++] = **at == '"' ? string(at) : span(at);
    }
    it.values[len] = NULL;
    if (**at) ++*at;
  } else {
    it.kind = **at == 't' || **at == 'f' ? FLAG : strchr("-0123456789", **at) ? NUMBER : OTHER;
    it.values[0] = span(at);
  }
  return it;
}

static void read_settings(void) {
  if (known) return;
  secmx_text json;
  secmx_policy_host_settings(&json);
  const char *at = (const char *)copy(json).ptr;
  known = calloc(1, sizeof *known);
  for (blank(&at), ++at, blank(&at); *at == '"'; blank(&at), at += *at == ',', blank(&at)) {
    char *name = string(&at);
    blank(&at), ++at, blank(&at);
    struct setting one = value(&at);
    one.name = name;
    known = realloc(known, (known_len + 1) * sizeof *known);
    known[known_len++] = one;
  }
}

static struct setting *find(const char *name, size_t len) {
  read_settings();
  for (size_t at = 0; at < known_len; ++at)
    if (strlen(known[at].name) == len && memcmp(known[at].name, name, len) == 0) return &known[at];
  return NULL;
}

const char *secmx_settings(const char *shape) {
  bool expected[64] = {false};
  read_settings();
  for (const char *at = shape; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
    size_t name = strcspn(at, ":"), type = strcspn(at + name + 1, " ?");
    const char *word = at + name + 1;
    struct setting *given = find(at, name);
    if (!given && word[type] == '?') continue;
    if (!given) return (const char *)secmx_format("`%.*s` is missing; it is %.*s", (int)name, at, (int)type, word).ptr;
    if (given->kind == OTHER || strlen(KINDS[given->kind]) != type || memcmp(KINDS[given->kind], word, type))
      if (!(given->kind == TEXTS && !given->values[0] && type == 5)) return (const char *)secmx_format("`%s` must be %.*s", given->name, (int)type, word).ptr;
    if (given - known < 64) expected[given - known] = true;
  }
  for (size_t at = 0; at < known_len && at < 64; ++at)
    if (!expected[at]) return (const char *)secmx_format("there is no setting `%s`, only %s", known[at].name, shape).ptr;
  return NULL;
}

const char *secmx_setting(const char *name, const char *otherwise) {
  struct setting *it = find(name, strlen(name));
  return it && it->values[0] ? it->values[0] : otherwise;
}

const char *secmx_member(const char *name, size_t at) {
  struct setting *it = find(name, strlen(name));
  for (size_t each = 0; it && it->values[each]; ++each)
    if (each == at) return it->values[each];
  return NULL;
}

/* --- the host --- */

#define LOGGING(name, severity)                                \
  void name(const char *format, ...) {                         \
    va_list arguments;                                         \
    va_start(arguments, format);                               \
    secmx_text text = formatted(format, arguments);            \
    va_end(arguments);                                         \
    secmx_policy_host_log(severity, &text);                    \
  }
LOGGING(secmx_debug, SECMX_POLICY_HOST_SEVERITY_DEBUG)
LOGGING(secmx_info, SECMX_POLICY_HOST_SEVERITY_INFO)
LOGGING(secmx_warn, SECMX_POLICY_HOST_SEVERITY_WARN)

void secmx_count(const char *name, uint64_t by) {
  secmx_text text = secmx_from(name);
  secmx_policy_host_count(&text, by);
}

bool secmx_in_list(const char *name, secmx_text value) {
  secmx_text list = secmx_from(name);
  return secmx_policy_host_in_list(&list, &value);
}

/* --- by grant --- */

bool secmx_store_get(const char *key, secmx_text *value) {
  secmx_text name = secmx_from(key);
  guest_list_u8_t octets;
  bool is = secmx_policy_store_get(&name, &octets);
  if (is) *value = (secmx_text){octets.ptr, octets.len};
  return is;
}

const char *secmx_store_set(const char *key, secmx_text value, uint32_t ttl) {
  secmx_text name = secmx_from(key), wrong;
  guest_list_u8_t octets = {value.ptr, value.len};
  if (secmx_policy_store_set(&name, &octets, ttl ? &ttl : NULL, &wrong)) return NULL;
  return (const char *)copy(wrong).ptr;
}

const char *secmx_store_increment(const char *key, int64_t by, uint32_t ttl, int64_t *sum) {
  secmx_text name = secmx_from(key), wrong;
  if (secmx_policy_store_increment(&name, by, ttl ? &ttl : NULL, sum, &wrong)) return NULL;
  return (const char *)copy(wrong).ptr;
}

const char *secmx_look_up(const char *name, const char *kind, secmx_answer *answer) {
  static const char *const WHY[] = {"none", "unavailable", "bogus"};
  secmx_text asked = secmx_from(name), of = secmx_from(kind);
  secmx_policy_dns_failure_t failure;
  return secmx_policy_dns_query(&asked, &of, answer, &failure) ? NULL : WHY[failure.tag];
}

/* --- the questions: what a policy does not define passes --- */

__attribute__((weak)) const char *secmx_check(void) { return NULL; }
bool exports_secmx_policy_setup_check(guest_string_t *wrong) {
  const char *said = secmx_check();
  if (said) *wrong = copy(secmx_from(said));
  return !said;
}

__attribute__((weak)) secmx_ruling secmx_greet(secmx_session session) { return (void)session, secmx_pass(); }
__attribute__((weak)) secmx_ruling secmx_mail(secmx_session session, const secmx_address *reverse_path, secmx_parameters parameters) {
  return (void)session, (void)reverse_path, (void)parameters, secmx_pass();
}
__attribute__((weak)) secmx_ruling secmx_recipient(secmx_session session, const secmx_address *reverse_path,
                                                   const secmx_address *forward_path, secmx_parameters parameters) {
  return (void)session, (void)reverse_path, (void)forward_path, (void)parameters, secmx_pass();
}
void exports_secmx_policy_receiver_greet(exports_secmx_policy_receiver_own_session_t session, secmx_ruling *ruling) {
  *ruling = secmx_greet(secmx_policy_session_borrow_session(session));
}
void exports_secmx_policy_receiver_mail(exports_secmx_policy_receiver_own_session_t session, secmx_address *reverse_path,
                                        exports_secmx_policy_receiver_list_parameter_t *given, secmx_ruling *ruling) {
  *ruling = secmx_mail(secmx_policy_session_borrow_session(session), reverse_path, (secmx_parameters){given->ptr, given->len});
}
void exports_secmx_policy_receiver_recipient(exports_secmx_policy_receiver_own_session_t session, secmx_address *reverse_path,
                                             secmx_address *forward_path, exports_secmx_policy_receiver_list_parameter_t *given,
                                             secmx_ruling *ruling) {
  secmx_parameters parameters = {given->ptr, given->len};
  *ruling = secmx_recipient(secmx_policy_session_borrow_session(session), reverse_path, forward_path, parameters);
}

__attribute__((weak)) secmx_ruling secmx_inspect(secmx_session session, secmx_message message) {
  return (void)session, (void)message, secmx_pass();
}
void exports_secmx_policy_content_inspect(exports_secmx_policy_content_own_session_t session,
                                          exports_secmx_policy_content_own_message_t message, secmx_ruling *ruling) {
  *ruling = secmx_inspect(secmx_policy_session_borrow_session(session), secmx_policy_message_borrow_message(message));
}

__attribute__((weak)) secmx_ruling secmx_route(secmx_destination destination) { return (void)destination, secmx_pass(); }
__attribute__((weak)) secmx_ruling secmx_admit(secmx_destination destination, const secmx_exchanger *exchanger) {
  return (void)destination, (void)exchanger, secmx_pass();
}
void exports_secmx_policy_sender_route(exports_secmx_policy_sender_own_destination_t destination, secmx_ruling *ruling) {
  *ruling = secmx_route(secmx_policy_destination_borrow_destination(destination));
}
void exports_secmx_policy_sender_admit(exports_secmx_policy_sender_own_destination_t destination, secmx_exchanger *exchanger,
                                       secmx_ruling *ruling) {
  *ruling = secmx_admit(secmx_policy_destination_borrow_destination(destination), exchanger);
}

/* The bindings ask for an object file that says which world they are of; the build says so itself. */
void __component_type_object_force_link_guest(void);
void __component_type_object_force_link_guest(void) {}
