//! The search page and the list of errors, embedded in the program; nothing is loaded from elsewhere.

use std::fmt::Write;

use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::failure::Code;
use crate::wire::service::Welcome;

const INDEX: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/tamis.css");
const SCRIPT: &str = include_str!("../page/tamis.js");
const ICON: &str = include_str!("../page/icon.svg");

/// The page's files may be kept, but are asked for again after an upgrade.
const CACHE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-cache");

/// The search page, or with `Accept: application/json` the service's name and links.
#[utoipa::path(get, path = "/", tag = "service", responses(
    (status = 200, description = "The search page, or with `Accept: application/json` name, version and links", content(
        (String = "text/html"),
        (Welcome = "application/json"),
    )),
))]
pub async fn index(request: HttpRequest) -> HttpResponse {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("application/json") && !accept.contains("text/html") {
        return HttpResponse::Ok().json(Welcome {
            name: "tamis".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            links: json!({
                "collections": "/v1/collections", "openapi": "/openapi.json", "errors": "/errors",
                "health": "/healthz", "metrics": "/metrics", "stats": "/v1/stats",
            }),
        });
    }
    HttpResponse::Ok()
        .insert_header(CACHE)
        .content_type(ContentType::html())
        .body(INDEX)
}

/// The page's style sheet.
#[utoipa::path(get, path = "/page/tamis.css", tag = "service", responses((status = 200, description = "Style sheet of the search page", body = String, content_type = "text/css")))]
pub async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLE)
}

/// The page's script.
#[utoipa::path(get, path = "/page/tamis.js", tag = "service", responses((status = 200, description = "Script of the search page", body = String, content_type = "text/javascript")))]
pub async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The page's icon.
#[utoipa::path(get, path = "/page/icon.svg", tag = "service", responses((status = 200, description = "Icon of the search page", body = String, content_type = "image/svg+xml")))]
pub async fn icon() -> HttpResponse {
    asset("image/svg+xml", ICON)
}

/// Every error code with its meaning; the `link` of an error points here.
#[utoipa::path(get, path = "/errors", tag = "service", responses((status = 200, description = "Every error code with its status and meaning", body = String, content_type = "text/html")))]
pub async fn errors() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(CACHE)
        .content_type(ContentType::html())
        .body(errors_html())
}

fn asset(content_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(CACHE)
        .content_type(content_type)
        .body(body)
}

/// The table of codes as a page. Its texts are constants of this program without markup.
fn errors_html() -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Errors · Tamis</title>\
         <link rel=\"icon\" type=\"image/svg+xml\" href=\"/page/icon.svg\"><link rel=\"stylesheet\" href=\"/page/tamis.css\">\
         </head><body><header class=\"top\"><a class=\"brand\" href=\"/\">tamis</a></header><main><div class=\"calm\">\
         <h2>Errors</h2><p>Every failed request answers with one JSON object; its <code>code</code> is one of these.</p></div>\
         <div class=\"codes\">\n",
    );
    for code in Code::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(
            html,
            "<section id=\"{name}\"><h2><code>{name}</code> <small>{status} · {kind}</small></h2><p>{meaning}</p></section>",
            name = code.name(),
            status = code.status(),
            kind = code.kind(),
            meaning = code.meaning(),
        );
    }
    html.push_str("</div></main></body></html>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        let html = errors_html();
        for code in Code::ALL {
            assert!(html.contains(&format!("id=\"{}\"", code.name())), "{}", code.name());
            assert!(!code.meaning().contains(['<', '&']), "{}", code.name());
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_inserts_no_markup() {
        for (name, text) in [("index.html", INDEX), ("tamis.css", STYLE), ("tamis.js", SCRIPT)] {
            for scheme in ["http://", "https://", "//cdn", "@import", "url("] {
                assert!(!text.contains(scheme), "{name} contains {scheme}");
            }
        }
        for unsafe_word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(
                !SCRIPT.contains(unsafe_word),
                "{unsafe_word} would let text become markup"
            );
        }
        // The content security policy forbids inline styles and scripts.
        for inline in ["<style", "style=", "onclick", "<script>"] {
            assert!(!INDEX.contains(inline), "index.html contains {inline}");
        }
    }
}
