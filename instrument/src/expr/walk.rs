//! The walk over the tree of an expression: names, scopes, what keeps it out of the line and
//! what makes it impure.

use std::collections::{BTreeSet, HashMap};

use rustpython_parser::ast::{self, Comprehension, Expr, Ranged};

use super::expression::{Facts, NotSpliced, Purity};
use super::purity::{Call, of_call};

/// Longer pieces of source are cut in messages.
const MAX_SHOWN: usize = 60;

/// The state of the walk; `'t` is the life of the tree and its text.
pub(super) struct Walk<'t> {
    text: &'t str,
    names: BTreeSet<&'t str>,
    private_names: BTreeSet<&'t str>,
    builtins: BTreeSet<&'t str>,
    /// The first reason against each.
    splice: Option<NotSpliced>,
    impure: Option<String>,
    /// The scopes that are open, the expression's own first, and how many of them bind a name.
    scopes: Vec<Scope<'t>>,
    bound: HashMap<&'t str, u32>,
}

#[derive(Default)]
struct Scope<'t> {
    names: Vec<&'t str>,
    /// `:=` binds in the scope around a comprehension.
    is_comprehension: bool,
}

impl<'t> Walk<'t> {
    pub(super) fn facts(text: &'t str, tree: &'t Expr) -> Facts {
        let mut walk = Walk {
            text,
            names: BTreeSet::new(),
            private_names: BTreeSet::new(),
            builtins: BTreeSet::new(),
            splice: None,
            impure: None,
            scopes: vec![Scope::default()],
            bound: HashMap::new(),
        };
        walk.expr(tree);
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        Facts {
            known: true,
            names: owned(walk.names),
            private_names: owned(walk.private_names),
            builtins: owned(walk.builtins),
            splice: walk.splice,
            purity: walk.impure.map_or(Purity::Pure, Purity::Impure),
        }
    }

    fn expr(&mut self, expr: &'t Expr) {
        match expr {
            Expr::Name(name) => self.load(&name.id),
            Expr::Constant(_) => {}
            Expr::Attribute(attribute) => {
                self.identifier(&attribute.attr);
                self.expr(&attribute.value);
            }
            Expr::Call(call) => self.call(call),
            Expr::BoolOp(op) => self.all(&op.values),
            Expr::BinOp(op) => {
                self.expr(&op.left);
                self.expr(&op.right);
            }
            Expr::UnaryOp(op) => self.expr(&op.operand),
            Expr::Compare(compare) => {
                self.expr(&compare.left);
                self.all(&compare.comparators);
            }
            Expr::IfExp(choice) => {
                self.expr(&choice.test);
                self.expr(&choice.body);
                self.expr(&choice.orelse);
            }
            Expr::Subscript(subscript) => {
                self.expr(&subscript.value);
                self.expr(&subscript.slice);
            }
            Expr::Slice(slice) => {
                let parts = [&slice.lower, &slice.upper, &slice.step];
                self.all(parts.into_iter().flatten().map(|part| &**part));
            }
            Expr::Starred(starred) => self.expr(&starred.value),
            Expr::List(list) => self.all(&list.elts),
            Expr::Tuple(tuple) => self.all(&tuple.elts),
            Expr::Set(set) => self.all(&set.elts),
            Expr::Dict(dict) => {
                for (key, value) in dict.keys.iter().zip(&dict.values) {
                    self.all(key);
                    self.expr(value);
                }
            }
            Expr::JoinedStr(string) => self.all(&string.values),
            Expr::FormattedValue(field) => {
                self.expr(&field.value);
                self.all(field.format_spec.as_deref());
            }
            Expr::Lambda(lambda) => self.lambda(lambda),
            Expr::ListComp(c) => self.comprehension(&c.generators, [Some(&*c.elt), None]),
            Expr::SetComp(c) => self.comprehension(&c.generators, [Some(&*c.elt), None]),
            Expr::DictComp(c) => {
                self.comprehension(&c.generators, [Some(&*c.key), Some(&*c.value)]);
            }
            Expr::GeneratorExp(c) => {
                self.refuse(NotSpliced::GeneratorExpression);
                self.comprehension(&c.generators, [Some(&*c.elt), None]);
            }
            Expr::Await(suspension) => {
                self.suspends(NotSpliced::Await, expr);
                self.expr(&suspension.value);
            }
            Expr::Yield(suspension) => {
                self.suspends(NotSpliced::Yield, expr);
                self.all(suspension.value.as_deref());
            }
            Expr::YieldFrom(suspension) => {
                self.suspends(NotSpliced::Yield, expr);
                self.expr(&suspension.value);
            }
            Expr::NamedExpr(assignment) => self.assignment(assignment),
        }
    }

    fn all(&mut self, exprs: impl IntoIterator<Item = &'t Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn call(&mut self, call: &'t ast::ExprCall) {
        match of_call(call) {
            Call::Builtin(name) if !self.bound.contains_key(name) => {
                self.builtins.insert(name);
            }
            Call::Method => {}
            Call::Builtin(_) | Call::Impure => {
                self.taint(|walk| {
                    format!("the call `{}` may have side effects", walk.source(call))
                });
            }
        }
        self.expr(&call.func);
        self.all(&call.args);
        self.all(call.keywords.iter().map(|keyword| &keyword.value));
    }

    fn lambda(&mut self, lambda: &'t ast::ExprLambda) {
        self.refuse(NotSpliced::Lambda);
        let arguments = &*lambda.args;
        let plain = [
            &arguments.posonlyargs,
            &arguments.args,
            &arguments.kwonlyargs,
        ];
        let plain = || plain.into_iter().flatten();
        // Defaults are evaluated outside.
        self.all(plain().filter_map(|argument| argument.default.as_deref()));
        self.scopes.push(Scope::default());
        let rest = [&arguments.vararg, &arguments.kwarg];
        let rest = rest.into_iter().flatten().map(|argument| &**argument);
        for argument in plain().map(|argument| &argument.def).chain(rest) {
            self.bind(&argument.arg);
        }
        self.expr(&lambda.body);
        self.leave();
    }

    fn comprehension(&mut self, generators: &'t [Comprehension], results: [Option<&'t Expr>; 2]) {
        self.refuse(NotSpliced::Comprehension);
        let first = generators.first();
        // The first iterable is evaluated outside.
        self.all(first.map(|generator| &generator.iter));
        self.scopes.push(Scope {
            is_comprehension: true,
            ..Scope::default()
        });
        for generator in generators {
            self.target(&generator.target);
        }
        for (index, generator) in generators.iter().enumerate() {
            if generator.is_async {
                self.taint(|_| "`async for` suspends the program".to_owned());
            }
            if index > 0 {
                self.expr(&generator.iter);
            }
            self.all(&generator.ifs);
        }
        self.all(results.into_iter().flatten());
        self.leave();
    }

    /// What `for` assigns to: names of the comprehension, or a part of some object.
    fn target(&mut self, target: &'t Expr) {
        match target {
            Expr::Name(name) => self.bind(&name.id),
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|target| self.target(target)),
            Expr::List(list) => list.elts.iter().for_each(|target| self.target(target)),
            Expr::Starred(starred) => self.target(&starred.value),
            other => {
                self.taint(|walk| format!("`for {} in` assigns", walk.source(other)));
                self.expr(other);
            }
        }
    }

    fn assignment(&mut self, assignment: &'t ast::ExprNamedExpr) {
        let name = match &*assignment.target {
            Expr::Name(name) => name.id.as_str(),
            _ => "",
        };
        self.refuse(NotSpliced::Assignment(name.to_owned()));
        self.taint(|walk| format!("`{}` assigns", walk.source(assignment)));
        self.expr(&assignment.value);
        self.identifier(name);
        let mut scopes = self.scopes.iter_mut().rev();
        if let Some(owner) = scopes.find(|scope| !scope.is_comprehension) {
            owner.names.push(name);
            *self.bound.entry(name).or_default() += 1;
        }
    }

    fn suspends(&mut self, reason: NotSpliced, expr: &'t Expr) {
        self.refuse(reason);
        self.taint(|walk| format!("`{}` suspends the program", walk.source(expr)));
    }

    fn load(&mut self, name: &'t str) {
        self.identifier(name);
        if !self.bound.contains_key(name) {
            self.names.insert(name);
        }
    }

    fn bind(&mut self, name: &'t str) {
        self.identifier(name);
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.push(name);
            *self.bound.entry(name).or_default() += 1;
        }
    }

    /// Closes the innermost scope.
    fn leave(&mut self) {
        let scope = self.scopes.pop().unwrap_or_default();
        for name in scope.names {
            if let Some(count) = self.bound.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.bound.remove(name);
                }
            }
        }
    }

    fn identifier(&mut self, name: &'t str) {
        if name.starts_with("__") && !name.ends_with("__") {
            self.private_names.insert(name);
        }
    }

    fn refuse(&mut self, reason: NotSpliced) {
        self.splice.get_or_insert(reason);
    }

    fn taint(&mut self, reason: impl FnOnce(&Self) -> String) {
        if self.impure.is_none() {
            self.impure = Some(reason(self));
        }
    }

    /// The source of a node on one line, cut where it is long.
    fn source(&self, node: &impl Ranged) -> String {
        let range = node.start().to_usize()..node.end().to_usize();
        let source = self.text.get(range).unwrap_or_default();
        let mut words = source.split_whitespace();
        let mut shown = words.next().unwrap_or_default().to_owned();
        for word in words {
            if shown.len() > MAX_SHOWN {
                break;
            }
            shown.push(' ');
            shown.push_str(word);
        }
        if shown.chars().nth(MAX_SHOWN).is_some() {
            shown = shown.chars().take(MAX_SHOWN - 3).collect();
            shown.push_str("...");
        }
        shown
    }
}
