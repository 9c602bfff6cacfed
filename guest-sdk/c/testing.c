/* The small code behind testing.h. It stands in for the bindings: each function of guest.h that asks the gateway is here, and weak, so that
 * a test may have its own. */
#include "testing.h"
#include "secmx.c"

#define ROOM (sizeof(((secmx_world *)0)->facts) / sizeof(secmx_pair))
#define PLAYED __attribute__((weak))

static secmx_world world;
static const char **done;
static size_t done_len;
static int failures;

static secmx_pair *at_of(secmx_pair *pairs, const char *name) {
  for (size_t at = 0; at < ROOM && pairs[at].name; ++at)
    if (strcmp(pairs[at].name, name) == 0) return pairs + at;
  return NULL;
}

void secmx_play(secmx_world given) {
  world = given;
  known = NULL, known_len = 0;
  done_len = 0;
}

/* A text as a C string. */
static const char *plain(const secmx_text *text) {
  return (const char *)copy(*text).ptr;
}

static void did(secmx_text line) {
  done = realloc(done, (done_len + 1) * sizeof *done);
  if (!done) abort();
  done[done_len++] = plain(&line);
}
#define DID(...) did(secmx_format(__VA_ARGS__))

bool secmx_did(const char *line) {
  for (size_t at = 0; at < done_len; ++at)
    if (strcmp(done[at], line) == 0) return true;
  return false;
}

const char *secmx_stored(const char *key) {
  secmx_pair *held = at_of(world.store, key);
  return held ? held->value : NULL;
}

/* --- what is expected --- */

static const char *refused(const char *kind, secmx_policy_types_tuple2_reply_reason_t *it) {
  guest_tuple3_u8_u16_u16_t status = it->f0.enhanced;
  return (const char *)secmx_format("%s %u %u.%u.%u %.*s (%.*s: %.*s)", kind, it->f0.code, status.f0, status.f1, status.f2,
                                    SECMX_ARG(it->f0.text), SECMX_ARG(it->f1.code), SECMX_ARG(it->f1.text)).ptr;
}

const char *secmx_line(secmx_ruling ruling) {
  static const char *const NAMES[] = {"pass", "accept", "reject", "defer", "quarantine", "discard"};
  const char *name = NAMES[ruling.tag];
  if (ruling.tag == SECMX_POLICY_TYPES_RULING_PASS) return name;
  if (ruling.tag == SECMX_POLICY_TYPES_RULING_REJECT || ruling.tag == SECMX_POLICY_TYPES_RULING_DEFER) return refused(name, &ruling.val.reject);
  return (const char *)secmx_format("%s %.*s: %.*s", name, SECMX_ARG(ruling.val.accept.code), SECMX_ARG(ruling.val.accept.text)).ptr;
}

static void failed(const char *file, int line) {
  ++failures;
  for (size_t at = 0; at < done_len; ++at) fprintf(stderr, "  the policy did: %s\n", done[at]);
  fprintf(stderr, "  at %s:%d\n", file, line);
}

void secmx_expect(bool so, const char *what, const char *file, int line) {
  if (so) return;
  fprintf(stderr, "not so: %s\n", what);
  failed(file, line);
}

void secmx_expect_line(const char *got, const char *expected, const char *file, int line) {
  if (strcmp(got, expected) == 0) return;
  fprintf(stderr, "expected: %s\ngot:      %s\n", expected, got);
  failed(file, line);
}

int secmx_failed(void) {
  return failures;
}

/* Ends the test: there is nothing that could be answered. */
static _Noreturn void stop(secmx_text why) {
  fprintf(stderr, "%.*s\n", SECMX_ARG(why));
  exit(1);
}

/* --- facts --- */

/* The first answer of a method, asked about something or nothing, else NULL. */
static const char *fact(const char *method, const char *of) {
  secmx_pair *found = at_of(world.facts, *of ? (const char *)secmx_format("%s %s", method, of).ptr : method);
  return found ? found->value : NULL;
}

static secmx_text text_of(const char *method) {
  const char *found = fact(method, "");
  return secmx_from(found ? found : "");
}

static bool option_of(const char *method, const char *of, guest_string_t *ret) {
  const char *found = fact(method, of);
  if (found) *ret = secmx_from(found);
  return found != NULL;
}

static uint64_t number_of(const char *method) {
  const char *found = fact(method, "");
  return found ? strtoull(found, NULL, 10) : 0;
}

/* Which of these words it is; it must be one. */
static uint8_t choice(const char *method, const char *word, const char *const *words, size_t len) {
  for (size_t at = 0; at < len; ++at)
    if (word && strcmp(word, words[at]) == 0) return (uint8_t)at;
  stop(secmx_format("the test says that `%s` is \"%s\", which is no word of wit/", method, word ? word : ""));
}
#define CHOICE(method, word, words) choice(method, word, words, sizeof(words) / sizeof *(words))

static const char *const LEVELS[] = {"plain", "encrypted", "host", "domain"};
static const char *const ROLES[] = {"best-effort", "secure-only"};
static const char *const ANSWERS[] = {"found", "none", "denied", "unknown", "bogus"};
static const char *const CERTIFICATES[] = {"ignore", "request", "demand"};

static secmx_address address(const char *text) {
  const char *domain = strrchr(text, '@');
  if (!domain) stop(secmx_format("the test has the address \"%s\", which is not local-part@domain", text));
  return (secmx_address){{(uint8_t *)text, (size_t)(domain - text)}, secmx_from(domain + 1)};
}

/* ESMTP: a keyword, and a value behind "=" when there is one. */
static secmx_policy_types_parameter_t parameter(const char *text) {
  const char *value = strchr(text, '=');
  if (!value) return (secmx_policy_types_parameter_t){.keyword = secmx_from(text)};
  return (secmx_policy_types_parameter_t){{(uint8_t *)text, (size_t)(value - text)}, {true, secmx_from(value + 1)}};
}

/* Every answer of a method, in turn: the list has room for as many. */
#define EACH(method, of, list, one, member)                                                       \
  do {                                                                                            \
    const char *asked = *(of) ? (const char *)secmx_format("%s %s", method, of).ptr : (method);   \
    (list)->ptr = calloc(ROOM, sizeof *(list)->ptr);                                              \
    (list)->len = 0;                                                                              \
    for (size_t each = 0; (list)->ptr && each < ROOM && world.facts[each].name; ++each) {         \
      const char *one = world.facts[each].value;                                                  \
      if (strcmp(world.facts[each].name, asked) == 0) (list)->ptr[(list)->len] = member, ++(list)->len; \
    }                                                                                             \
  } while (0)

static const char *decimal(uint32_t number) {
  return (const char *)secmx_format("%u", number).ptr;
}

/* What is behind `offset`, at most `max` octets of it. */
static guest_list_u8_t span_of(const char *text, uint64_t offset, uint32_t max) {
  uint64_t len = strlen(text), from = offset < len ? offset : len, left = len - from;
  return (guest_list_u8_t){(uint8_t *)text + from, left < max ? left : max};
}

#define SELF(resource) secmx_policy_##resource##_borrow_##resource##_t self
#define TEXT_FACT(resource, method, name) \
  PLAYED void SECMX(resource, method)(SELF(resource), guest_string_t *ret) { (void)self, *ret = text_of(name); }
#define OPTION_FACT(resource, method, name) \
  PLAYED bool SECMX(resource, method)(SELF(resource), guest_string_t *ret) { return (void)self, option_of(name, "", ret); }
#define OPTION_FACT_OF(resource, method, name) \
  PLAYED bool SECMX(resource, method)(SELF(resource), guest_string_t *of, guest_string_t *ret) { return (void)self, option_of(name, plain(of), ret); }
#define NUMBER_FACT(resource, method, name, type) \
  PLAYED type SECMX(resource, method)(SELF(resource)) { return (void)self, (type)number_of(name); }
#define REVERSE_PATH(resource)                                                        \
  PLAYED bool SECMX(resource, reverse_path)(SELF(resource), secmx_address *ret) {     \
    const char *given = ((void)self, fact("reverse-path", ""));                       \
    if (given) *ret = address(given);                                                 \
    return given != NULL;                                                             \
  }
#define CHANNEL(resource)                                                                           \
  PLAYED bool SECMX(resource, channel)(SELF(resource), secmx_policy_session_channel_t *ret) {       \
    const char *level = ((void)self, fact("channel", ""));                                          \
    *ret = (secmx_policy_session_channel_t){.cipher = secmx_from(""), .group = secmx_from("")};     \
    if (level) ret->level = CHOICE("channel", level, LEVELS);                                       \
    return level != NULL;                                                                           \
  }                                                                                                 \
  PLAYED bool SECMX(resource, peer_certificate)(SELF(resource), secmx_policy_session_certificate_t *ret) { \
    const char *subject = ((void)self, fact("peer-certificate", ""));                               \
    *ret = (secmx_policy_session_certificate_t){.subject = secmx_from(subject ? subject : ""), .issuer = secmx_from("")}; \
    return subject != NULL;                                                                         \
  }
#define SET_TAG(resource) \
  PLAYED void SECMX(resource, set_tag)(SELF(resource), guest_string_t *key, guest_string_t *value) { \
    (void)self, DID("set-tag %.*s=%.*s", SECMX_ARG(*key), SECMX_ARG(*value));                        \
  }

TEXT_FACT(session, id, "id")
TEXT_FACT(session, listener, "listener")
TEXT_FACT(session, client_address, "client-address")
OPTION_FACT(session, client_name, "client-name")
OPTION_FACT(session, hello, "hello")
CHANNEL(session)
OPTION_FACT(session, authenticated_as, "authenticated-as")
OPTION_FACT_OF(session, authentication_result, "authentication-result")
OPTION_FACT_OF(session, tag, "tag")
SET_TAG(session)
PLAYED void SECMX(session, set_role)(SELF(session), uint8_t role) { (void)self, DID("set-role %s", ROLES[role]); }
PLAYED void SECMX(session, set_client_certificate)(SELF(session), uint8_t want) {
  (void)self, DID("set-client-certificate %s", CERTIFICATES[want]);
}

TEXT_FACT(message, id, "id")
REVERSE_PATH(message)
NUMBER_FACT(message, octets, "octets", uint64_t)
OPTION_FACT_OF(message, tag, "tag")
SET_TAG(message)
PLAYED void SECMX(message, parameters)(SELF(message), secmx_policy_message_list_parameter_t *ret) {
  (void)self;
  EACH("parameters", "", ret, given, parameter(given));
}
PLAYED void SECMX(message, recipients)(SELF(message), secmx_policy_message_list_recipient_t *ret) {
  (void)self;
  EACH("recipients", "", ret, to, ((secmx_policy_message_recipient_t){.address = address(to)}));
}
PLAYED void SECMX(message, text)(SELF(message), guest_string_t *name, guest_list_string_t *ret) {
  (void)self;
  EACH("text", plain(name), ret, value, secmx_from(value));
}
PLAYED void SECMX(message, fields)(SELF(message), secmx_policy_message_list_field_t *ret) {
  *ret = ((void)self, (secmx_policy_message_list_field_t){calloc(ROOM, sizeof *ret->ptr), 0});
  for (size_t at = 0; ret->ptr && at < ROOM && world.facts[at].name; ++at) {
    if (strncmp(world.facts[at].name, "text ", 5) != 0) continue;
    secmx_text value = secmx_from(world.facts[at].value);
    ret->ptr[ret->len++] = (secmx_policy_message_field_t){secmx_from(world.facts[at].name + 5), {value.ptr, value.len}};
  }
}
PLAYED void SECMX(message, read)(SELF(message), uint64_t offset, uint32_t max, guest_list_u8_t *ret) {
  (void)self, *ret = span_of((const char *)text_of("read").ptr, offset, max);
}
PLAYED void SECMX(message, parts)(SELF(message), secmx_policy_message_list_part_t *ret) {
  (void)self;
  EACH("parts", "", ret, type, ((secmx_policy_message_part_t){.index = (uint32_t)ret->len, .content_type = secmx_from(type)}));
}
PLAYED void SECMX(message, ambiguities)(SELF(message), secmx_policy_message_list_ambiguity_t *ret) {
  (void)self;
  EACH("ambiguities", "", ret, what, ((secmx_policy_message_ambiguity_t){.what = secmx_from(what)}));
}
PLAYED void SECMX(message, file_names)(SELF(message), uint32_t index, guest_list_string_t *ret) {
  (void)self;
  EACH("file-names", decimal(index), ret, name, secmx_from(name));
}
PLAYED void SECMX(message, read_part)(SELF(message), uint32_t index, uint64_t offset, uint32_t max, guest_list_u8_t *ret) {
  const char *octets = ((void)self, fact("read-part", decimal(index)));
  *ret = span_of(octets ? octets : "", offset, max);
}
PLAYED bool SECMX(message, part_text)(SELF(message), uint32_t index, uint32_t max, guest_string_t *ret) {
  bool is = ((void)self, option_of("part-text", decimal(index), ret));
  if (is && ret->len > max) ret->len = max;
  return is;
}
PLAYED bool SECMX(message, shortfall)(SELF(message), uint32_t index, guest_string_t *ret) {
  return (void)self, option_of("shortfall", decimal(index), ret);
}
PLAYED bool SECMX(message, opened)(SELF(message), uint32_t index) {
  const char *is = ((void)self, fact("opened", decimal(index)));
  return is && strcmp(is, "true") == 0;
}
PLAYED void SECMX(message, digest)(SELF(message), uint32_t index, guest_list_u8_t *ret) {
  const char *octets = ((void)self, fact("digest", decimal(index)));
  *ret = span_of(octets ? octets : "", 0, 32);
}
/* In the texts that the test has: the gateway knows what else letters are equal to. */
PLAYED void SECMX(message, find)(SELF(message), guest_list_string_t *needles, bool ignore_case, guest_list_u32_t *ret) {
  (void)self;
  *ret = (guest_list_u32_t){calloc(needles->len + 1, sizeof *ret->ptr), 0};
  for (size_t needle = 0; ret->ptr && needle < needles->len; ++needle) {
    bool found = false;
    for (size_t at = 0; !found && at < ROOM && world.facts[at].name; ++at) {
      bool text = strcmp(world.facts[at].name, "text Subject") == 0 || strncmp(world.facts[at].name, "part-text ", 10) == 0;
      const char *wanted = plain(&needles->ptr[needle]), *in = world.facts[at].value;
      found = text && (ignore_case ? secmx_has(secmx_from(in), wanted) : strstr(in, wanted) != NULL);
    }
    if (found) ret->ptr[ret->len++] = (uint32_t)needle;
  }
}
PLAYED void SECMX(message, add_evidence)(SELF(message), uint32_t part, uint64_t offset, guest_string_t *excerpt) {
  (void)self, DID("add-evidence %u@%llu %.*s", part, (unsigned long long)offset, SECMX_ARG(*excerpt));
}
PLAYED void SECMX(message, add_field)(SELF(message), guest_string_t *name, guest_string_t *value) {
  (void)self, DID("add-field %.*s: %.*s", SECMX_ARG(*name), SECMX_ARG(*value));
}
PLAYED void SECMX(message, replace_field)(SELF(message), guest_string_t *name, guest_string_t *value) {
  (void)self, DID("replace-field %.*s: %.*s", SECMX_ARG(*name), SECMX_ARG(*value));
}
PLAYED uint32_t SECMX(message, remove_field)(SELF(message), guest_string_t *name) {
  guest_list_string_t values;
  SECMX(message, text)(self, name, &values);
  DID("remove-field %.*s", SECMX_ARG(*name));
  return (uint32_t)values.len;
}
PLAYED bool SECMX(message, replace_part)(SELF(message), uint32_t index, guest_string_t *type, guest_list_u8_t *body, guest_string_t *err) {
  (void)self, (void)err, DID("replace-part %u %.*s %.*s", index, SECMX_ARG(*type), SECMX_ARG(*body));
  return true;
}
PLAYED bool SECMX(message, remove_part)(SELF(message), uint32_t index, guest_string_t *err) {
  (void)self, (void)err, DID("remove-part %u", index);
  return true;
}
PLAYED void SECMX(message, add_recipient)(SELF(message), secmx_address *to) {
  (void)self, DID("add-recipient %.*s@%.*s", SECMX_ARG(to->local_part), SECMX_ARG(to->domain));
}
PLAYED bool SECMX(message, remove_recipient)(SELF(message), secmx_address *to) {
  secmx_text wanted = ((void)self, secmx_format("%.*s@%.*s", SECMX_ARG(to->local_part), SECMX_ARG(to->domain)));
  DID("remove-recipient %.*s", SECMX_ARG(wanted));
  for (size_t at = 0; at < ROOM && world.facts[at].name; ++at)
    if (strcmp(world.facts[at].name, "recipients") == 0 && secmx_is(wanted, world.facts[at].value)) return true;
  return false;
}
PLAYED bool SECMX(message, journal)(SELF(message), guest_string_t *name, guest_string_t *err) {
  (void)self, (void)err, DID("journal %.*s", SECMX_ARG(*name));
  return true;
}
PLAYED void SECMX(message, demand)(SELF(message), uint8_t role, uint8_t at_least) {
  (void)self, DID("demand %s at least %s", ROLES[role], LEVELS[at_least]);
}

TEXT_FACT(destination, domain, "domain")
REVERSE_PATH(destination)
TEXT_FACT(destination, message_id, "message-id")
OPTION_FACT_OF(destination, tag, "tag")
NUMBER_FACT(destination, waited, "waited", uint32_t)
NUMBER_FACT(destination, attempts, "attempts", uint32_t)
TEXT_FACT(destination, sts_mode, "sts-mode")
CHANNEL(destination)
PLAYED void SECMX(destination, recipients)(SELF(destination), secmx_policy_destination_list_address_t *ret) {
  (void)self;
  EACH("recipients", "", ret, to, address(to));
}
static uint8_t answer(const char *method) {
  const char *word = fact(method, "");
  return word ? CHOICE(method, word, ANSWERS) : SECMX_POLICY_DESTINATION_ANSWER_NONE;
}
PLAYED uint8_t SECMX(destination, secmx)(SELF(destination)) { return (void)self, answer("secmx"); }
PLAYED uint8_t SECMX(destination, mx)(SELF(destination)) { return (void)self, answer("mx"); }
PLAYED void SECMX(destination, exchangers)(SELF(destination), secmx_policy_destination_list_exchanger_t *ret) {
  (void)self;
  EACH("exchangers", "", ret, name, ((secmx_exchanger){.index = (uint32_t)ret->len, .name = secmx_from(name), .port = 25}));
}
PLAYED bool SECMX(destination, best_level)(SELF(destination), uint8_t *ret) {
  const char *level = ((void)self, fact("best-level", ""));
  if (level) *ret = CHOICE("best-level", level, LEVELS);
  return level != NULL;
}
PLAYED void SECMX(destination, set_role)(SELF(destination), uint8_t role) { (void)self, DID("set-role %s", ROLES[role]); }
PLAYED void SECMX(destination, attempt)(SELF(destination), uint32_t exchanger, uint8_t at_least) {
  (void)self, DID("attempt %u at least %s", exchanger, LEVELS[at_least]);
}
static void end(const char *when, secmx_policy_destination_exhausted_t *then) {
  if (then->tag == SECMX_POLICY_DESTINATION_EXHAUSTED_DEFER) DID("%s defer", when);
  else DID("%s bounce %.*s: %.*s", when, SECMX_ARG(then->val.bounce.code), SECMX_ARG(then->val.bounce.text));
}
PLAYED void SECMX(destination, when_proved)(SELF(destination), secmx_policy_destination_exhausted_t *then) { (void)self, end("when-proved", then); }
PLAYED void SECMX(destination, when_unknown)(SELF(destination), secmx_policy_destination_exhausted_t *then) { (void)self, end("when-unknown", then); }

/* --- the host, the store and DNS --- */

/* It is shown at once: a fault of the policy ends the program. */
PLAYED void secmx_policy_host_log(uint8_t severity, guest_string_t *text) {
  static const char *const SEVERITIES[] = {"debug", "info", "warn"};
  DID("log %s %.*s", SEVERITIES[severity], SECMX_ARG(*text));
  fprintf(stderr, "%s\n", done[done_len - 1]);
}
PLAYED void secmx_policy_host_settings(guest_string_t *ret) { *ret = secmx_from(world.settings ? world.settings : "{}"); }
PLAYED uint64_t secmx_policy_host_now(void) { return world.now; }
PLAYED void secmx_policy_host_count(guest_string_t *name, uint64_t by) {
  DID("count %.*s %llu", SECMX_ARG(*name), (unsigned long long)by);
}
PLAYED bool secmx_policy_host_in_list(guest_string_t *name, guest_string_t *value) {
  const char *list = plain(name);
  if (!at_of(world.lists, list)) stop(secmx_format("the test knows no list `%s`: add {\"%s\", \"a member\"} to .lists", list, list));
  for (size_t at = 0; at < ROOM && world.lists[at].name; ++at) {
    bool same = strcmp(world.lists[at].name, list) == 0 && strlen(world.lists[at].value) == value->len;
    if (same && secmx_has(*value, world.lists[at].value)) return true;
  }
  return false;
}

PLAYED bool secmx_policy_store_get(guest_string_t *key, guest_list_u8_t *ret) {
  const char *held = secmx_stored(plain(key));
  if (held) *ret = (guest_list_u8_t){(uint8_t *)held, strlen(held)};
  return held != NULL;
}
PLAYED bool secmx_policy_store_set(guest_string_t *key, guest_list_u8_t *value, uint32_t *ttl, guest_string_t *err) {
  (void)ttl, (void)err;
  const char *name = plain(key);
  secmx_pair *place = at_of(world.store, name);
  for (size_t at = 0; !place && at < ROOM; ++at)
    if (!world.store[at].name) place = world.store + at;
  if (!place) stop(secmx_format("the test's store is full at %zu keys", ROOM));
  *place = (secmx_pair){name, (const char *)secmx_format("%.*s", SECMX_ARG(*value)).ptr};
  return true;
}
PLAYED bool secmx_policy_store_increment(guest_string_t *key, int64_t by, uint32_t *ttl, int64_t *ret, guest_string_t *err) {
  const char *held = secmx_stored(plain(key));
  *ret = (held ? strtoll(held, NULL, 10) : 0) + by;
  secmx_text sum = secmx_format("%lld", (long long)*ret);
  return secmx_policy_store_set(key, &(guest_list_u8_t){sum.ptr, sum.len}, ttl, err);
}

PLAYED bool secmx_policy_dns_query(guest_string_t *name, guest_string_t *kind, secmx_answer *ret, secmx_policy_dns_failure_t *err) {
  static const char *const WORDS[] = {"none", "servfail", "bogus"};
  const char *asked = (const char *)secmx_format("%.*s %.*s", SECMX_ARG(*name), SECMX_ARG(*kind)).ptr;
  secmx_pair *given = at_of(world.dns, asked);
  if (!given) stop(secmx_format("the test does not say what DNS answers: add {\"%s\", \"none\"} to .dns", asked));
  for (uint8_t at = 0; at < 3; ++at)
    if (strcmp(given->value, WORDS[at]) == 0) return err->tag = at, false;
  *ret = (secmx_answer){.values = {calloc(ROOM, sizeof *ret->values.ptr), 0}};
  for (; ret->values.ptr && given < world.dns + ROOM && given->name; ++given)
    if (strcmp(given->name, asked) == 0) ret->values.ptr[ret->values.len++] = secmx_from(given->value);
  return true;
}

/* --- what else secmx.h and guest.h name --- */

secmx_session secmx_policy_session_borrow_session(exports_secmx_policy_receiver_own_session_t it) { return (secmx_session){it.__handle}; }
secmx_message secmx_policy_message_borrow_message(exports_secmx_policy_content_own_message_t it) { return (secmx_message){it.__handle}; }
secmx_destination secmx_policy_destination_borrow_destination(exports_secmx_policy_sender_own_destination_t it) {
  return (secmx_destination){it.__handle};
}
void guest_string_set(guest_string_t *ret, const char *text) { *ret = secmx_from(text); }
void guest_string_dup(guest_string_t *ret, const char *text) { *ret = copy(secmx_from(text)); }
void guest_string_dup_n(guest_string_t *ret, const char *text, size_t len) { *ret = copy((secmx_text){(uint8_t *)text, len}); }
void guest_string_free(guest_string_t *ret) { *ret = (secmx_text){(uint8_t *)"", 0}; }
