//! What the backend knows: the menu, the orders, and how often it was asked. Pure; time is passed
//! in as seconds since the start.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// How many orders are remembered, and how many seconds of traffic.
const RECENT_ORDERS: usize = 8;
const SECONDS_OF_TRAFFIC: usize = 60;

struct Item {
    id: &'static str,
    name: &'static str,
    note: &'static str,
    cents: u32,
    baked: u32,
    ordered: u32,
}

struct Order {
    number: u32,
    item: &'static str,
    by: &'static str,
    at: u64,
}

struct Route {
    label: String,
    requests: u64,
    errors: u64,
}

/// The whole state of the backend.
pub(crate) struct Shop {
    items: Vec<Item>,
    orders: VecDeque<Order>,
    order_count: u32,
    routes: Vec<Route>,
    /// Requests in each of the last seconds, the oldest first.
    traffic: VecDeque<u32>,
    /// The second to which the last entry of `traffic` belongs.
    traffic_second: u64,
}

impl Shop {
    /// A shop that has just opened, with the first customers served.
    pub(crate) fn open() -> Self {
        let item = |id, name, note, cents, baked| Item {
            id,
            name,
            note,
            cents,
            baked,
            ordered: 0,
        };
        let mut shop = Self {
            items: vec![
                item("sourdough", "Sourdough", "36 hours, dark crust", 640, 24),
                item("baguette", "Baguette", "baked every hour", 240, 60),
                item("croissant", "Croissant", "27 layers of butter", 310, 48),
                item("knot", "Cinnamon knot", "cardamom, pearl sugar", 350, 36),
                item("rye", "Rye loaf", "caraway, dense, moist", 580, 18),
                item("focaccia", "Focaccia", "rosemary, sea salt", 420, 30),
            ],
            orders: VecDeque::new(),
            order_count: 0,
            routes: Vec::new(),
            traffic: VecDeque::from([0]),
            traffic_second: 0,
        };
        for (id, by) in [("baguette", "Noor"), ("knot", "Emil"), ("rye", "Ada")] {
            shop.order(id, by, 0);
        }
        shop
    }

    /// Takes an order. `None` if there is no such item.
    pub(crate) fn order(&mut self, id: &str, by: &'static str, at: u64) -> Option<Value> {
        let item = self.items.iter_mut().find(|item| item.id == id)?;
        if item.ordered == item.baked {
            // Sold out: the next tray comes out of the oven.
            item.baked += 24;
        }
        item.ordered += 1;
        self.order_count += 1;
        self.orders.push_front(Order {
            number: self.order_count,
            item: item.name,
            by,
            at,
        });
        self.orders.truncate(RECENT_ORDERS);
        Some(json!({ "number": self.order_count, "item": item.name }))
    }

    /// Serves the next of the regular customers, who come by while nobody looks.
    pub(crate) fn serve_a_regular(&mut self, at: u64) {
        const REGULARS: [&str; 7] = ["Noor", "Emil", "Ada", "Jun", "Marisol", "Tove", "Kofi"];
        let turn = self.order_count as usize;
        let id = self.items[turn * 5 % self.items.len()].id;
        self.order(id, REGULARS[turn * 3 % REGULARS.len()], at);
    }

    /// The menu with what is left of everything.
    pub(crate) fn menu(&self) -> Value {
        self.items
            .iter()
            .map(|item| {
                json!({
                    "id": item.id,
                    "name": item.name,
                    "note": item.note,
                    "cents": item.cents,
                    "baked": item.baked,
                    "ordered": item.ordered,
                })
            })
            .collect()
    }

    /// The latest orders, the newest first.
    pub(crate) fn orders(&self, now: u64) -> Value {
        let latest: Value = self
            .orders
            .iter()
            .map(|order| {
                json!({
                    "number": order.number,
                    "item": order.item,
                    "by": order.by,
                    "seconds_ago": now.saturating_sub(order.at),
                })
            })
            .collect();
        json!({ "total": self.order_count, "latest": latest })
    }

    /// Counts a request that was answered.
    pub(crate) fn count(&mut self, label: String, is_error: bool, now: u64) {
        self.turn_traffic_to(now);
        if let Some(last) = self.traffic.back_mut() {
            *last += 1;
        }
        let index = self
            .routes
            .iter()
            .position(|route| route.label == label)
            .unwrap_or_else(|| {
                self.routes.push(Route {
                    label,
                    requests: 0,
                    errors: 0,
                });
                self.routes.len() - 1
            });
        self.routes[index].requests += 1;
        self.routes[index].errors += u64::from(is_error);
    }

    /// The numbers for the office.
    pub(crate) fn stats(&mut self, now: u64) -> Value {
        self.turn_traffic_to(now);
        let mut routes: Vec<&Route> = self.routes.iter().collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.requests));
        json!({
            "uptime_seconds": now,
            "requests": self.routes.iter().map(|route| route.requests).sum::<u64>(),
            "errors": self.routes.iter().map(|route| route.errors).sum::<u64>(),
            "orders": self.order_count,
            "traffic": self.traffic,
            "routes": routes.iter().map(|route| json!({
                "route": route.label,
                "requests": route.requests,
                "errors": route.errors,
            })).collect::<Value>(),
        })
    }

    fn turn_traffic_to(&mut self, now: u64) {
        while self.traffic_second < now {
            self.traffic_second += 1;
            self.traffic.push_back(0);
            if self.traffic.len() > SECONDS_OF_TRAFFIC {
                self.traffic.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_shows_in_the_menu_and_in_the_list() {
        let mut shop = Shop::open();
        let before = shop.menu()[0]["ordered"].clone();
        assert_eq!(before, json!(0));
        assert!(shop.order("sourdough", "you", 5).is_some());
        assert!(shop.order("cake", "you", 5).is_none());
        assert_eq!(shop.menu()[0]["ordered"], json!(1));
        assert_eq!(shop.orders(7)["latest"][0]["item"], json!("Sourdough"));
        assert_eq!(shop.orders(7)["latest"][0]["seconds_ago"], json!(2));
    }

    #[test]
    fn traffic_is_counted_by_second_and_route() {
        let mut shop = Shop::open();
        shop.count("GET /health".to_owned(), false, 0);
        shop.count("GET /health".to_owned(), false, 2);
        shop.count("GET elsewhere".to_owned(), true, 2);
        let stats = shop.stats(3);
        assert_eq!(stats["traffic"], json!([1, 0, 2, 0]));
        assert_eq!(stats["requests"], json!(3));
        assert_eq!(stats["routes"][0]["route"], json!("GET /health"));
        assert_eq!(
            shop.stats(500)["traffic"].as_array().map(Vec::len),
            Some(60)
        );
    }

    #[test]
    fn the_last_loaf_is_followed_by_a_new_tray() {
        let mut shop = Shop::open();
        for _ in 0..200 {
            shop.serve_a_regular(1);
        }
        for item in shop.menu().as_array().into_iter().flatten() {
            assert!(item["ordered"].as_u64() <= item["baked"].as_u64(), "{item}");
        }
    }
}
