package tokenmint

import (
	"fmt"
	"log/slog"
	"time"

	pb "tokenmint.dev/client-go/tokenmintv1"
)

// Token is a minted token and what is known of it. It prints without its value; encoded as JSON it has it, for stores.
type Token struct {
	Value     string    `json:"value"`      // the token itself: a secret
	TokenType string    `json:"token_type"` // how it is presented: Bearer, DPoP or N_A
	IssuedAs  string    `json:"issued_as"`  // its kind, a URN of RFC 8693 section 3 or of tokenmint
	Expiry    time.Time `json:"expiry"`     // when it stops being valid
	Scopes    []string  `json:"scopes"`     // what it grants
	KeyID     string    `json:"key_id"`     // the kid of the key that signed it
	ID        string    `json:"id"`         // its jti
	Subject   string    `json:"subject"`    // the principal that it is about
}

// Format prints everything but the value, with each verb.
func (t Token) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "Token(id=%s subject=%s expiry=%s value=***)", t.ID, t.Subject, t.Expiry.Format(time.RFC3339))
}

// LogValue is what structured logs show: everything but the value.
func (t Token) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

func fromResponse(answer *pb.ExchangeTokenResponse) *Token {
	return &Token{
		Value:     answer.GetToken(),
		TokenType: answer.GetTokenType(),
		IssuedAs:  answer.GetIssuedTokenType(),
		Expiry:    answer.GetExpireTime().AsTime(),
		Scopes:    answer.GetScopes(),
		KeyID:     answer.GetKeyId(),
		ID:        answer.GetTokenId(),
		Subject:   answer.GetSubject(),
	}
}
