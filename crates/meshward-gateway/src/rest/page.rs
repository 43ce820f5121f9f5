//! Long lists in pages: `limit`, an opaque `cursor`, and a `Link` to the next page (RFC 8288).
//!
//! A cursor says after which place in the list's order the next page begins, not how many items were before, so that
//! what comes and goes meanwhile neither repeats nor hides an item. It is good for the same sort only.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::extract::QueryOf;
use super::model::Page;
use super::problem::{Answer, Problem};

/// Most items of a page.
pub(crate) const LIMIT_MAX: u16 = 1_000;
/// Items of a page when nobody says.
const LIMIT_USUAL: u16 = 100;

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Most items in the answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

pub(crate) type Paged = QueryOf<Paging>;

/// Where an item is in the order of its list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place(pub(crate) f64, pub(crate) String, pub(crate) u64);

impl Place {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let (Self(rank, text, number), Self(their_rank, their_text, their_number)) = (self, other);
        rank.total_cmp(their_rank).then_with(|| text.cmp(their_text)).then_with(|| number.cmp(their_number))
    }
}

/// An order, and the place after which a page begins.
#[derive(Serialize, Deserialize)]
struct Cursor(String, Place);

impl Cursor {
    fn read(text: &str, sort: &str) -> Answer<Place> {
        let bad = |why: &str| Problem::parameter("cursor", format!("cursor `{text}` {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let read = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let Self(of, place) = read.ok_or_else(|| bad("is none: take `next_cursor` of the page before"))?;
        if of == sort { Ok(place) } else { Err(bad("is of another order: begin again without it")) }
    }

    fn write(&self) -> String {
        // Numbers and texts always become JSON.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl Paging {
    pub(crate) fn new(limit: Option<u16>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The same, with pages that have no more than this many items whatever is asked for.
    pub(crate) fn at_most(self, most: u16) -> Self {
        // What is out of range stays so, to be refused.
        let limit = self.limit.unwrap_or(LIMIT_USUAL);
        Self { limit: Some(if limit <= LIMIT_MAX { limit.min(most) } else { limit }), ..self }
    }

    fn limit(&self) -> Answer<usize> {
        let limit = self.limit.unwrap_or(LIMIT_USUAL);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit {limit} is out of range: take 1 to {LIMIT_MAX}");
            return Err(Problem::parameter("limit", detail));
        }
        Ok(usize::from(limit))
    }

    /// The page that is wanted of all `items`, in the order `sort` that `place` makes; `descending` turns it round.
    pub(crate) fn cut<T>(
        &self,
        items: Vec<T>,
        (sort, descending): (&str, bool),
        place: impl Fn(&T) -> Place,
    ) -> Answer<Page<T>> {
        let limit = self.limit()?;
        let order = |one: &Place, other: &Place| {
            if descending { other.compare(one) } else { one.compare(other) }
        };
        let mut placed: Vec<(Place, T)> = items.into_iter().map(|item| (place(&item), item)).collect();
        placed.sort_by(|(one, _), (other, _)| order(one, other));
        if let Some(cursor) = &self.cursor {
            let after = Cursor::read(cursor, sort)?;
            placed.retain(|(place, _)| order(place, &after).is_gt());
        }
        let more = placed.len() > limit;
        placed.truncate(limit);
        let last = placed.last().map(|(place, _)| place.clone());
        let next_cursor = last.filter(|_| more).map(|last| Cursor(sort.to_owned(), last).write());
        Ok(Page { items: placed.into_iter().map(|(_, item)| item).collect(), next_cursor })
    }
}

/// A page with the `Link` to the next one.
pub(crate) fn linked<T: Serialize>(uri: &Uri, page: Page<T>) -> Response {
    let link = page.next_cursor.as_ref().and_then(|cursor| next_link(uri, cursor));
    let headers: Option<[(HeaderName, HeaderValue); 1]> = link.map(|link| [(header::LINK, link)]);
    match headers {
        Some(headers) => (headers, Json(page)).into_response(),
        None => Json(page).into_response(),
    }
}

fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let rest = uri.query().unwrap_or_default().split('&');
    let mut query: Vec<&str> = rest.filter(|part| !part.is_empty() && !part.starts_with("cursor=")).collect();
    let cursor = format!("cursor={cursor}");
    query.push(&cursor);
    HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(limit: u16, descending: bool) -> Vec<u64> {
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let items: Vec<u64> = vec![5, 3, 9, 1, 7];
            let sort = ("number", descending);
            let place = |item: &u64| Place(*item as f64, String::new(), *item);
            let page = Paging::new(Some(limit), cursor).cut(items, sort, place).unwrap();
            assert!(page.items.len() <= usize::from(limit));
            seen.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return seen,
            }
        }
    }

    #[test]
    fn pages_make_the_whole_list_whatever_their_size() {
        for limit in [1, 2, 5, 9] {
            assert_eq!(walk(limit, false), [1, 3, 5, 7, 9]);
            assert_eq!(walk(limit, true), [9, 7, 5, 3, 1]);
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let place = |item: &u64| Place(0.0, String::new(), *item);
        let cut = |limit, cursor: Option<&str>, sort| {
            Paging::new(limit, cursor.map(str::to_owned)).cut(vec![1, 2], (sort, false), place)
        };
        assert!(cut(Some(0), None, "id").is_err());
        assert!(cut(Some(LIMIT_MAX + 1), None, "id").is_err());
        assert!(cut(None, Some("!"), "id").is_err());
        assert!(cut(None, Some("e30"), "id").is_err());
        let next = cut(Some(1), None, "id").unwrap().next_cursor.unwrap();
        assert_eq!(cut(None, Some(&next), "id").unwrap().items, [2]);
        assert!(cut(None, Some(&next), "name").is_err(), "of another order");
    }

    #[test]
    fn the_next_page_is_linked() {
        let uri: Uri = "/api/v1/nodes?limit=2&cursor=abc&state=online".parse().unwrap();
        let link = next_link(&uri, "def").unwrap();
        assert_eq!(link, "</api/v1/nodes?limit=2&state=online&cursor=def>; rel=\"next\"");
    }
}
