package signer

// Fault is a reason of the protocol to refuse a request: section 6.
type Fault struct {
	Code    string // "A403IS"
	Status  int    // the digits of Code
	Message string // for the header X-Ca-Error-Message; may hold any byte but control characters
}

// Error makes a Fault an error. The message may show what the caller sent.
func (f *Fault) Error() string { return f.Code + " " + f.Message }

// Faults whose text never changes. They are shared: nobody may write to them.
var (
	// NoCredentials: the request has neither a signature nor an AppCode.
	NoCredentials = &Fault{"A400MA", 400, "Need authorization, `" + HeaderKey + "` or `Authorization: APPCODE ...` is required"}
	// UnknownCode: no app has this AppCode. Existing programs compare the text.
	UnknownCode = &Fault{"A400AC", 400, "Invalid AppCode `not exists`"}
	// UnknownKey: no app has this AppKey.
	UnknownKey = &Fault{"A400IK", 400, "Invalid AppKey"}
	// KeyRequired: the request is signed, or must be, and does not say by whom.
	KeyRequired = required(HeaderKey)
	// SignatureRequired: there is an AppKey and no signature.
	SignatureRequired = required(HeaderSignature)
	// MethodUnknown: the signature method is none of ours.
	MethodUnknown = invalid(HeaderSignatureMethod, "must be "+HmacSHA256+" or "+HmacSHA1)
	// MethodForbidden: the route does not take the weaker method.
	MethodForbidden = invalid(HeaderSignatureMethod, HmacSHA1+" is not allowed")
	// TimestampInvalid: the timestamp is not a number.
	TimestampInvalid = invalid(HeaderTimestamp, "must be milliseconds since 1970")
	// TimestampExpired: the timestamp is too far from our clock, either way.
	TimestampExpired = &Fault{"S403TE", 403, HeaderTimestamp + " is expired"}
	// DigestWrong: the body is not the one that was digested.
	DigestWrong = &Fault{"I400I5", 400, "Invalid Content-MD5 `not the digest of the body`"}
	// DigestWithoutBody: there is nothing to digest.
	DigestWithoutBody = &Fault{"I400I5", 400, "Invalid Content-MD5 `the request has no body`"}
	// NonceUsed: the nonce was seen before.
	NonceUsed = &Fault{"S403NU", 403, "Nonce Used"}
	// NonceRequired: the route forces nonces.
	NonceRequired = &Fault{"I400NC", 400, HeaderNonce + " is required"}
)

func required(name string) *Fault {
	return &Fault{"I400MH", 400, "Header `" + name + "` is Required"}
}

func invalid(name, reason string) *Fault {
	return &Fault{"I400HD", 400, "Invalid Header `" + name + "` " + reason}
}

// wrongPrefix is cut off by a library before it shows the rest: not a byte may change.
const wrongPrefix = "Invalid Signature, Server StringToSign:`"

// maxMessage bounds the message of a wrong signature; protocol section 5.
const maxMessage = 4 << 10

// wrongSignature shows the caller what we would have signed. A header holds no control
// characters, so a line end is shown as '#', and so is every other one.
func wrongSignature(stringToSign []byte) *Fault {
	room := maxMessage - len(wrongPrefix) - 1
	if len(stringToSign) > room {
		stringToSign = stringToSign[:room]
		// Do not cut a character in two: a continuation byte here began before the edge.
		for n := 0; n < 3 && len(stringToSign) > 0 && stringToSign[len(stringToSign)-1] >= 0x80; n++ {
			last := stringToSign[len(stringToSign)-1]
			stringToSign = stringToSign[:len(stringToSign)-1]
			if last >= 0xC0 {
				break
			}
		}
	}
	text := make([]byte, 0, len(wrongPrefix)+len(stringToSign)+1)
	text = append(text, wrongPrefix...)
	for _, c := range stringToSign {
		if c < 0x20 || c == 0x7F {
			c = '#'
		}
		text = append(text, c)
	}
	text = append(text, '`')
	return &Fault{"A403IS", 403, string(text)}
}
