//! Exchanges an ID token for a token of tokenmint, and verifies that offline, as a service in Rust would.

use std::{env, error::Error, fs, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::Deserialize;
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig},
};

mod protos {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}
use protos::tokenmint::v1::{ExchangeTokenRequest, token_exchange_service_client::TokenExchangeServiceClient};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let (issuer, audience) = (setting("TOKENMINT_ISSUER")?, setting("TOKENMINT_AUDIENCE")?);
    let token = exchange(&audience).await?;
    println!("hello {}", verify(&token, &issuer, &audience)?.sub);
    Ok(())
}

/// In the caller: one exchange, over TLS, authenticated by a client secret.
async fn exchange(audience: &str) -> Outcome<String> {
    let authority = Certificate::from_pem(fs::read(setting("TOKENMINT_CA_FILE")?)?);
    let channel = Channel::from_shared(format!("https://{}", setting("TOKENMINT_TARGET")?))?
        .tls_config(ClientTlsConfig::new().ca_certificate(authority))?
        .timeout(Duration::from_secs(10))
        .connect()
        .await?;
    let mut request = Request::new(ExchangeTokenRequest {
        subject_token: setting("SUBJECT_TOKEN")?,
        audience: audience.to_owned(),
        ..Default::default()
    });
    let mut secret: AsciiMetadataValue = setting("TOKENMINT_CLIENT_SECRET")?.parse()?;
    secret.set_sensitive(true); // in no debug output
    let metadata = request.metadata_mut();
    metadata.insert("tokenmint-client-id", setting("TOKENMINT_CLIENT_ID")?.parse()?);
    metadata.insert("tokenmint-client-secret", secret);
    let answer = TokenExchangeServiceClient::new(channel).exchange_token(request).await?;
    Ok(answer.into_inner().token)
}

/// In the called service: by the published key set. Keep the set for as long as its Cache-Control says.
fn verify(token: &str, issuer: &str, audience: &str) -> Outcome<Claims> {
    let url = format!("{issuer}/.well-known/jwks.json");
    let keys: JwkSet = ureq::get(&url).call()?.body_mut().read_json()?;
    let header = decode_header(token)?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err("the token is no access token".into());
    }
    let key = header.kid.and_then(|kid| keys.find(&kid).cloned()).ok_or("the key set lacks the token's key")?;
    let mut rules = Validation::new(Algorithm::ES256); // no other algorithm
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Ok(decode::<Claims>(token, &DecodingKey::from_jwk(&key)?, &rules)?.claims)
}

fn setting(name: &str) -> Outcome<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}
